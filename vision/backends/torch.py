"""torch: fp16 and CUDA graphs on an NVIDIA GPU; on the CPU fp32, or bf16 where the CPU has it."""

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from inspection.errors import BackendError
from inspection.frame import CropPixels
from vision.bundle import Bundle
from vision.classifier import expected, probability
from vision.resnet import BasicBlock, ResNet18, build_resnet18

Run = Callable[[Tensor], Tensor]


class Scorer(nn.Module):
    """Crops uint8 [n, 1 gray or 3 BGR, size, size] to margins, float32 [n]; arithmetic in `dtype`."""

    def __init__(self, bundle: Bundle, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        net = _fused(build_resnet18(bundle.tensors()))
        self.net = net.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        std = torch.tensor(bundle.recipe.std).view(1, 3, 1, 1)
        self.register_buffer("scale", 1 / (255 * std), persistent=False)
        self.register_buffer("shift", torch.tensor(bundle.recipe.mean).view(1, 3, 1, 1) / std, persistent=False)
        self.scale: Tensor
        self.shift: Tensor
        self.temperature = bundle.temperature

    def forward(self, crops: Tensor) -> Tensor:
        pixels = crops.float()
        rgb = pixels.flip(1) if pixels.shape[1] == 3 else pixels.expand(-1, 3, -1, -1)
        normal = (rgb * self.scale - self.shift).to(self.dtype).contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.net(normal).float()
        return (logits[:, 1] - logits[:, 0]) / self.temperature


def _fused(net: ResNet18) -> ResNet18:
    """Batch norms computed into the convolutions, in float32: float16 cannot hold the variances of some."""
    _fuse(net, "conv1", "bn1")
    for block in net.modules():
        if isinstance(block, BasicBlock):
            _fuse(block, "conv1", "bn1")
            _fuse(block, "conv2", "bn2")
            if block.downsample is not None:
                _fuse(block.downsample, "0", "1")
    return net


def _fuse(module: nn.Module, conv: str, norm: str) -> None:
    setattr(module, conv, fuse_conv_bn_eval(getattr(module, conv), getattr(module, norm)))
    setattr(module, norm, nn.Identity())


class TorchBackend:
    """Halves its batches when the device runs out of memory, and goes on with the CPU when one is too many.

    `run` maps uint8 crops on the CPU, each of `shape`, to margins on the CPU; `spare` makes the one that takes
    over.
    """

    callers = 1

    def __init__(
        self, name: str, shape: tuple[int, ...], run: Run, spare: "Callable[[], TorchBackend] | None" = None
    ) -> None:
        self.name = name
        self._shape = shape
        self._run = run
        self._spare = spare
        self._most = 1 << 30

    def score(self, crops: CropPixels) -> NDArray[np.float32]:
        """P(defect), float32 [n].

        Raises BackendError for crops of another shape, and when even the CPU has no memory for one crop.
        """
        given = expected(crops, self._shape, self.name)
        batch = torch.from_numpy(given if given.flags.writeable else given.copy())  # torch knows no read-only memory
        while True:
            try:
                with torch.inference_mode():
                    step = min(self._most, len(batch))
                    parts = [self._run(batch[at : at + step]) for at in range(0, len(batch), step)]
                return probability(torch.cat(parts).numpy())
            except torch.OutOfMemoryError as error:
                self._give_way(min(self._most, len(batch)), error)

    def _give_way(self, tried: int, error: torch.OutOfMemoryError) -> None:
        if tried > 1:
            self._most = tried // 2
            return
        if self._spare is None:
            raise BackendError(f"{self.name}: out of memory with one crop: {error}") from error
        other = self._spare()
        self.name, self._run, self._spare, self._most = other.name, other._run, other._spare, 1 << 30  # noqa: SLF001


def torch_cpu(bundle: Bundle, *, reduced: bool, threads: int = 0) -> TorchBackend:
    """`reduced` computes in bf16: with AVX-512 BF16 or AMX it is twice as fast, elsewhere slower."""
    if threads:
        torch.set_num_threads(threads)
    shape = bundle.recipe.crop_shape[1:]
    return TorchBackend("torch-cpu", shape, Scorer(bundle, torch.bfloat16 if reduced else torch.float32).eval())


def torch_cuda(bundle: Bundle, *, spare: Callable[[], TorchBackend]) -> TorchBackend:
    """Raises BackendError where torch finds no usable GPU."""
    if not torch.cuda.is_available():
        raise BackendError("torch-cuda: torch finds no CUDA device: see that driver and CUDA build of torch match")
    torch.backends.cudnn.benchmark = True
    shape = bundle.recipe.crop_shape[1:]
    return TorchBackend("torch-cuda", shape, _Graphs(Scorer(bundle, torch.float16).eval().cuda()), spare)


class _Graphs:
    """One captured CUDA graph for each batch size seen: a replay costs one launch instead of about 120."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._captured: dict[int, tuple[torch.cuda.CUDAGraph, Tensor, Tensor, Tensor]] = {}

    def __call__(self, crops: Tensor) -> Tensor:
        graph, pinned, given, scores = self._captured.get(len(crops)) or self._capture(crops)
        pinned.copy_(crops)
        given.copy_(pinned, non_blocking=True)
        graph.replay()
        return scores.cpu()

    def _capture(self, crops: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor, Tensor]:
        given = torch.empty_like(crops, device="cuda")
        given.copy_(crops)
        # cuDNN picks its algorithms and allocates its workspace here: neither may happen within a capture.
        with _side_stream():
            for _ in range(3):
                self._scorer(given)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            scores = self._scorer(given)
        captured = graph, torch.empty_like(crops).pin_memory(), given, scores
        self._captured[len(crops)] = captured
        return captured


@contextlib.contextmanager
def _side_stream() -> Iterator[None]:
    """As torch asks for before a capture (its notes on CUDA graphs): warm-up on a stream of its own."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        yield
    torch.cuda.current_stream().wait_stream(stream)
