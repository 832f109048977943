import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inspection import clock
from inspection.errors import NotScored
from inspection.part import Label
from inspection.probe import Probe
from inspection.verdict import Reason
from vision.backends.simulated import Simulated
from vision.batching import Batcher
from vision.bundle import Bundle, Thresholds
from vision.recipe import Recipe
from vision.resnet import build_resnet18, normalise
from vision.weights import FULL, Tensors, Widths, arch_of, as_stored, resnet18_shapes
from vision.worker import Worker
from vision.write import write_bundle

SHAPE = (1, 8, 8)


@dataclass
class Heard(Probe):
    """What the worker and the batcher told."""

    batches: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    curves: list[list[float]] = field(default_factory=list)
    restarts: list[str] = field(default_factory=list)

    def batch(self, size: int, seconds: float) -> None:
        self.batches.append(size)

    def queue_depth(self, queue: str, depth: int) -> None:
        self.depths.append(depth)

    def latency_curve(self, seconds_by_batch: Sequence[float]) -> None:
        self.curves.append(list(seconds_by_batch))

    def child_restarted(self, child: str, why: str) -> None:
        self.restarts.append(why)


@dataclass
class Bench:
    """A worker with a simulated backend, and its batcher, both running."""

    worker: Worker
    batcher: Batcher
    heard: Heard
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def run(self, *names: str) -> None:
        for name in names:
            self.tasks[name] = asyncio.create_task(getattr(self, name).run(), name=name)

    async def stop(self, *names: str) -> None:
        stopped = [self.tasks.pop(name) for name in names or list(self.tasks)]
        for task in stopped:
            task.cancel()
        for ended in await asyncio.gather(*stopped, return_exceptions=True):
            assert isinstance(ended, asyncio.CancelledError), ended

    async def score(self, *values: int, within: float = 30.0) -> list[float]:
        """Score one part of as many crops as values: crops of that brightness. The scores in 0..255."""
        crops = np.stack([np.full(SHAPE, value, np.uint8) for value in values])
        scored = await self.batcher.score(crops, clock.monotonic() + within)
        assert scored.model == "0123456789ab"
        return [float(score * 255) for score in scored.scores]

    async def refused(self, *values: int, within: float = 30.0) -> NotScored:
        with pytest.raises(NotScored) as caught:
            await self.score(*values, within=within)
        return caught.value

    async def reason(self, *values: int, within: float = 30.0) -> Reason:
        return (await self.refused(*values, within=within)).reason


@dataclass(frozen=True)
class Switch:
    """A file by which a test tells the simulated backend, in the worker's process, what to do."""

    path: Path

    def on(self) -> None:
        self.path.touch()

    def off(self) -> None:
        self.path.unlink()


@pytest.fixture
def held(tmp_path: Path) -> Switch:
    """While on, the device computes."""
    return Switch(tmp_path / "held")


@pytest.fixture
def broken(tmp_path: Path) -> Switch:
    """While on, the backend cannot be opened. It is on."""
    switch = Switch(tmp_path / "broken")
    switch.on()
    return switch


class Start(Protocol):
    def __call__(
        self,
        backend: Simulated | None = None,
        *,
        max_batch: int = 4,
        max_waiting: int = 64,
        ready: bool = True,
        batching: bool = True,
        start_timeout_s: float = 30.0,
        hang_timeout_s: float = 30.0,
        back_off_s: Sequence[float] = (0.01,),
    ) -> Awaitable[Bench]: ...


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts benches, and waits for their workers unless `ready` is False; ends them after the test."""
    benches: list[Bench] = []

    async def start(
        backend: Simulated | None = None,
        *,
        max_batch: int = 4,
        max_waiting: int = 64,
        ready: bool = True,
        batching: bool = True,
        start_timeout_s: float = 30.0,
        hang_timeout_s: float = 30.0,
        back_off_s: Sequence[float] = (0.01,),
    ) -> Bench:
        heard = Heard()
        worker = Worker(
            (backend or Simulated()).open,
            crop_shape=SHAPE,
            max_batch=max_batch,
            probe=heard,
            model="0123456789ab",
            start_timeout_s=start_timeout_s,
            hang_timeout_s=hang_timeout_s,
            back_off_s=back_off_s,
        )
        bench = Bench(worker, Batcher(worker, max_batch=max_batch, max_waiting=max_waiting, probe=heard), heard)
        benches.append(bench)
        bench.run("worker", *(["batcher"] if batching else []))
        if ready:
            async with asyncio.timeout(30):
                await worker.ready.wait()
        return bench

    yield start
    for bench in benches:
        await bench.stop()


Until = Callable[[Callable[[], bool]], Awaitable[None]]


@pytest.fixture
def until() -> Until:
    """Waits for a condition that no event announces."""

    async def until(holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not holds():
                await asyncio.sleep(0.001)

    return until


def drawn_tensors(seed: int, widths: Widths = FULL) -> Tensors:
    """Weights as He et al. draw them, and batch norms with statistics of their own, as they are on disk."""
    random = np.random.default_rng(seed)
    tensors: dict[str, NDArray[np.generic]] = {}
    for name, shape in resnet18_shapes(widths).items():
        if len(shape) == 4:
            values = random.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        elif name.endswith(("running_var", "weight")) and not name.startswith("fc"):
            values = random.uniform(0.5, 1.5, shape)
        else:
            values = random.normal(0, 0.3, shape)
        tensors[name] = values.astype(np.float32)
    return {name: array.astype(np.float32) for name, array in as_stored(tensors, arch_of(widths)).items()}


def reference_margins(tensors: Tensors, recipe: Recipe, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What torch makes of crops [n, channels, size, size] in float32: logit of ng - logit of ok."""
    with torch.inference_mode():
        seen = normalise(torch.from_numpy(crops.copy()), recipe.mean, recipe.std)
        logits = build_resnet18(tensors)(seen).numpy()
    margins: NDArray[np.float32] = logits[:, 1] - logits[:, 0]
    return margins


def pictures(count: int, side: int) -> list[NDArray[np.uint8]]:
    """Colour pictures of blots, each unlike the others."""
    random = np.random.default_rng(5)
    made = []
    for number in range(count):
        picture = random.integers(0, 30 + 12 * number, (side, side, 3)).astype(np.uint8)
        for _ in range(number):
            x, y = (int(v) for v in random.integers(0, side, 2))
            tone = tuple(int(v) for v in random.integers(0, 256, 3))
            cv2.circle(picture, (x, y), int(random.integers(2, side // 4)), tone, -1)
        made.append(picture)
    return made


def draw_bundle(
    path: Path,
    recipe: Recipe,
    *,
    seed: int = 0,
    golden: int = 12,
    backbone: Mapping[str, NDArray[np.generic]] | None = None,
    widths: Widths = FULL,
    **changed: NDArray[np.float32],
) -> Bundle:
    """A bundle of a drawn network whose scores of its golden parts lie on both sides of the threshold.

    `backbone` replaces drawn tensors; `fc_weight` and `fc_bias` those of the classifier, after the reference
    scores were taken.
    """
    temperature = 1.7
    drawn = {**drawn_tensors(seed, widths), **(backbone or {})}
    tensors = {name: array.astype(np.float32) for name, array in as_stored(drawn, arch_of(widths)).items()}
    seen = pictures(max(golden, 4), max(recipe.resize, recipe.size) + 8)
    crops = np.stack([recipe.crops(picture) for picture in seen])
    flat = crops.reshape(-1, *crops.shape[2:])
    margins = reference_margins(tensors, recipe, flat)
    spread, centre = np.float32(1.5 / margins.std()), np.median(margins)
    tensors["fc.weight"] *= spread
    tensors["fc.bias"] = np.array([0, spread * (tensors["fc.bias"] @ [-1, 1] - centre)], np.float32)
    scores = 1 / (1 + np.exp(-spread * (margins - centre) / temperature))
    parts = scores.reshape(len(seen), -1).max(axis=1)
    ordered = np.sort(parts)[len(parts) // 4 : -(len(parts) // 4)]
    widest = int(np.diff(ordered).argmax())
    middle = float(ordered[widest : widest + 2].mean())  # rounding is to change no verdict
    files = []
    path.parent.mkdir(parents=True, exist_ok=True)
    for number, (picture, score) in enumerate(zip(seen[:golden], parts, strict=False)):
        file = path.parent / f"{path.name}-{number}.png"
        assert cv2.imwrite(str(file), picture)
        files.append((file, Label.NG if score > middle else Label.OK, float(score)))
    return write_bundle(
        path,
        recipe=recipe,
        thresholds=Thresholds(middle, middle),
        temperature=temperature,
        tensors={**tensors, **{name.replace("_", "."): array for name, array in changed.items()}},
        metrics={"drawn": True},
        data_hash="0" * 64,
        golden=files,
        golden_crops=list(crops[:golden]),
        arch=arch_of(widths),
    )


SMALL = Recipe(resize=64, size=64)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """These crops are too small to share out, and other tests may run beside."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", name="draw_bundle")
def _draw_bundle() -> Callable[..., Bundle]:
    return draw_bundle


@pytest.fixture(scope="session")
def torch_margins() -> Callable[[Tensors, Recipe, NDArray[np.uint8]], NDArray[np.float32]]:
    return reference_margins


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A gray bundle with small crops and golden parts. Read it, do not change it: `copied` may be changed."""
    return draw_bundle(tmp_path_factory.mktemp("drawn") / "bundle", SMALL)


@pytest.fixture
def copied(drawn: Bundle, tmp_path: Path) -> Path:
    """A copy of `drawn` that shares its files until they are replaced: see `rewrite`."""
    return Path(shutil.copytree(drawn.path, tmp_path / "bundle", copy_function=os.link))
