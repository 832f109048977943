import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

from inspection import clock
from inspection.errors import NotScored
from inspection.probe import Probe
from inspection.verdict import Reason
from vision.backends.simulated import Simulated
from vision.batching import Batcher
from vision.worker import Worker

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
