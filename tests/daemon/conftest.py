"""The seams of a station, each as a small honest stand-in that a test can steer."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from daemon.ledger import Ledger
from daemon.station import Station, StationSettings
from daemon.tally import Tally
from daemon.telemetry.metrics import Metrics
from inspection import clock
from inspection.errors import NoImage, NotScored, StoreError
from inspection.frame import Crops, Missed
from inspection.part import Label, PartId, Trigger
from inspection.record import Record
from inspection.verdict import Reason, Verdict
from tests.daemon.swapping import LEFT, RIGHT, draw_bundle
from vision.bundle import Bundle, Thresholds
from vision.classifier import Scored

CAMERA = "top"


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Sees the dark side: everything passes."""
    return draw_bundle(tmp_path_factory.mktemp("left") / "left", LEFT)


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Sees the bright side: everything fails."""
    return draw_bundle(tmp_path_factory.mktemp("right") / "right", RIGHT)


def crops(label: Label | None = None, captured: float | None = None) -> Crops:
    now = clock.monotonic()
    pixels = np.zeros((1, 1, 8, 8), np.uint8)
    return Crops(CAMERA, 1, {"recipe": pixels}, captured or now, now, "a.png", label)


@dataclass
class Line:
    """What surrounds a station: answers as told, and keeps what it was given."""

    capture: Crops | Missed | None = field(default_factory=crops)
    score: float | NotScored | None = 0.1
    fault: BaseException | None = None
    broker: bool = True
    disk: bool = True
    disk_stalls: bool = False
    said: list[Verdict] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    seen: list[Verdict] = field(default_factory=list)
    shots: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def shoot(self, deadline: float) -> Crops:
        self.shots += 1
        if self.capture is None:
            await self.arrived.wait()
        if isinstance(self.capture, Missed):
            raise NoImage(self.capture)
        assert self.capture is not None
        return self.capture

    async def classify(self, pixels: np.ndarray, deadline: float) -> Scored:
        if self.fault is not None:
            raise self.fault
        if self.score is None:
            await asyncio.Event().wait()
        if isinstance(self.score, NotScored):
            raise self.score
        return Scored(np.full(len(pixels), self.score, np.float32), "abc", 0.001, 0.002)

    def say(self, verdict: Verdict) -> bool:
        self.said.append(verdict)
        return self.broker and verdict.part.deadline > clock.monotonic()

    def keep(self, record: Record) -> None:
        self.records.append(record)

    def judged(self, verdict: Verdict, captures: Sequence[Crops | Missed]) -> None:
        self.seen.append(verdict)

    async def kept(self, record: Record) -> None:
        if self.disk_stalls:
            await asyncio.Event().wait()
        if not self.disk:
            raise StoreError("disk full")
        self.records.append(record)


@dataclass
class Judged:
    """The live model."""

    line: Line
    hash: str = "m" * 64
    recipe: str = "recipe"
    thresholds: Thresholds = field(default_factory=lambda: Thresholds(0.4, 0.6))

    async def score(self, crops: np.ndarray, deadline: float) -> Scored:
        return await self.line.classify(crops, deadline)


@dataclass
class Bench:
    """A station on a line, driven by hand."""

    line: Line
    station: Station
    metrics: Metrics
    live: Judged
    triggers: int = 0

    def trigger(self, window: float = 5.0) -> None:
        self.triggers += 1
        now = clock.monotonic()
        self.station.trigger(Trigger(self.triggers, PartId(f"p{self.triggers}"), now, now + window, int(window * 1000)))

    async def verdicts(self, count: int) -> list[Verdict]:
        async with asyncio.timeout(10):
            while len(self.line.said) < count:
                await asyncio.sleep(0)
        return self.line.said

    def balance(self) -> tuple[int, int, int]:
        account = self.metrics.account("s")
        return account.captured, sum(account.verdicts.values()), account.opened


@pytest.fixture
def bench() -> Callable[..., Bench]:
    """Builds a station: `bench(max_open=2, require_record=True, window=0.2)`."""

    def build(*, max_open: int = 64, require_record: bool = False, window: float = 5.0, cameras: int = 1) -> Bench:
        line = Line()
        metrics = Metrics(cameras={"s": (CAMERA,)}, deadlines={"s": window})
        station = Station(
            StationSettings("s", "5e551011", window, require_record, "c" * 12),
            ledger=Ledger("s", max_open=max_open, margin=0.02, probe=metrics),
            cameras=(line,) * cameras,
            live=lambda: made.live,
            teller=line,
            keeper=line,
            tally=Tally(),
            onlookers=[line],
            probe=metrics,
        )
        made = Bench(line, station, metrics, Judged(line))
        return made

    return build


@pytest.fixture
def missed() -> Callable[[Reason], Missed]:
    return lambda reason: Missed(CAMERA, 1, reason, clock.monotonic(), "gone")
