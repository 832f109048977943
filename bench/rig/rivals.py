"""What a station is compared with, each in a process of its own that works only when asked to."""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from camera.simulated import SimulatedConfig, draw_part
from vision.bundle import load_bundle

BATCH = 8


@contextmanager
def apart(work: Callable[..., None], *args: object) -> Iterator[tuple[Pipe, str]]:
    """`work(pipe, *args)` in another process: the pipe to it, once it is ready, and what it calls itself."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs, *args), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours, ours.recv()
    finally:
        ours.close()
        process.join(5)
        process.kill()


def rate(pipe: Pipe, size: int, seconds: float) -> float:
    """Pictures a second in batches of `size`, without a pause."""
    pipe.send((size, seconds, 0.0))
    times = pipe.recv()
    return size * len(times) / float(sum(times))


def singles(pipe: Pipe, seconds: float, pause: float) -> list[float]:
    """Seconds that each call with one picture took, after `pause` seconds of rest."""
    pipe.send((1, seconds, pause))
    times: list[float] = pipe.recv()
    return times


def bare(pipe: Pipe, bundle: Path, cache: Path) -> None:
    """The backend that the station chose and nothing else; crops lie ready."""
    from vision.backends.choose import open_backend  # noqa: PLC0415 - each process loads its own runtime only

    backend = open_backend(bundle, cache_dir=cache)
    golden = load_bundle(bundle).golden_crops()
    crops = np.ascontiguousarray(golden.reshape(-1, *golden.shape[2:])[:BATCH])
    _serve(pipe, backend.name, lambda size: backend.score(crops[:size]))


def usual(pipe: Pipe, bundle: Path, camera: dict[str, Any], frames: int) -> None:
    """What one writes first: OpenCV enhances, PIL and torchvision scale and normalise, torch infers in eager fp32.

    From frames in memory to scores in memory, with the bundle's own weights and recipe.
    """
    import torch  # noqa: PLC0415
    from PIL import Image  # noqa: PLC0415
    from torchvision import models, transforms  # noqa: PLC0415

    loaded = load_bundle(bundle)
    net = models.resnet18(num_classes=2).eval()
    net.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in loaded.tensors().items()}, strict=False)
    size, cuts = loaded.recipe.size, loaded.recipe.geometry == "center_crop"
    scale = [transforms.Resize(loaded.recipe.resize), transforms.CenterCrop(size)]
    prepare = transforms.Compose(
        [
            *(scale if cuts else [transforms.Resize((size, size))]),
            transforms.Grayscale(3),
            transforms.ToTensor(),
            transforms.Normalize(loaded.recipe.mean, loaded.recipe.std),
        ]
    )
    drawn = [draw_part(SimulatedConfig.model_validate(camera), number)[0] for number in range(1, frames + 1)]
    kernel, at = np.ones((3, 3), np.uint8), 0

    def step(count: int) -> None:
        nonlocal at
        inputs = []
        for _ in range(count):
            edges = cv2.morphologyEx(cv2.equalizeHist(drawn[at % frames]), cv2.MORPH_GRADIENT, kernel)
            inputs.append(prepare(Image.fromarray(edges)))
            at += 1
        with torch.inference_mode():
            torch.softmax(net(torch.stack(inputs)), 1).numpy()

    _serve(pipe, "usual", step)


def _serve(pipe: Pipe, name: str, step: Callable[[int], object]) -> None:
    """Answer (size, seconds, pause) with the seconds that each call of `step(size)` took, until the pipe closes."""
    step(BATCH)
    pipe.send(name)
    try:
        while True:
            size, seconds, pause = pipe.recv()
            times: list[float] = []
            step(size)
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                time.sleep(pause)
                began = time.monotonic()
                step(size)
                times.append(time.monotonic() - began)
            pipe.send(times)
    except EOFError:
        pass
