"""A source with realistic content, and a page served on a free port."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import cv2
import numpy as np
import pytest

from dashboard.app import make_app
from dashboard.serve import bind, serve
from dashboard.source import (
    Agreement,
    CameraView,
    Count,
    LastVerdict,
    OutboxView,
    Snapshot,
    StationView,
    WorkerView,
)
from inspection.part import Label
from inspection.verdict import Outcome, Reason

PAGE = 9580


def _station(name: str, last: LastVerdict, **changes: object) -> StationView:
    counts = (
        Count(Outcome.PASS, Reason.SCORE, 1184),
        Count(Outcome.FAIL, Reason.SCORE, 97),
        Count(Outcome.FAIL, Reason.UNCERTAIN, 14),
        Count(Outcome.NO_VERDICT, Reason.DEADLINE, 3),
        Count(Outcome.NO_VERDICT, Reason.CAMERA_STALLED, 1),
    )
    view = StationView(
        name=name,
        mode="triggered",
        state="ready",
        state_reason="",
        broker_up=True,
        captured=1300,
        opened=1,
        late=0,
        refused=2,
        counts=counts,
        rate_per_s=4.94,
        p50_ms=41.3,
        p99_ms=88.9,
        deadline_ms=250,
        cameras=(CameraView("top", up=True, picture=1299, last=last),),
        agreement=Agreement(ok=1190, ng=105, escapes=2, overkill=8),
    )
    return replace(view, **changes)  # type: ignore[arg-type]


def realistic() -> Snapshot:
    failed = LastVerdict(
        Outcome.FAIL, Reason.SCORE, 0.9731, "part-001299", 0.3, "pitting/0451_t12.png", Label.NG
    )
    passed = LastVerdict(Outcome.PASS, Reason.SCORE, 0.0182, "4711", 0.1, "ok/0192_t03.png", Label.OK)
    nothing = LastVerdict(Outcome.NO_VERDICT, Reason.CAMERA_STALLED, None, "4709", 12.4)
    live = _station("raceway-live", passed, mode="free", rate_per_s=2.0, late=1)
    two = (
        CameraView("left", up=True, picture=880, last=passed),
        CameraView("right", up=False, picture=None, last=nothing),
    )
    return Snapshot(
        site="demo",
        line="line1",
        session="9f3c01ab",
        version="0.1.0",
        uptime_s=7384,
        worker=WorkerView(ready=True, backend="openvino-bf16", model="3fa94b1c77de", restarts=0),
        outbox=OutboxView(depth=3, oldest_age_s=0.4, lost=0, broker_up=True),
        stations=(
            _station("raceway", failed),
            replace(live, cameras=two, state="not_ready", state_reason="camera_stalled", broker_up=False),
        ),
    )


class FakeSource:
    """Answers what a test put in."""

    def __init__(self) -> None:
        self.now = realistic()
        self.asked = 0
        self.well = (True, "")
        self.is_ready = (True, "")

    def snapshot(self) -> Snapshot:
        self.asked += 1
        return self.now

    def picture(self, station: str, camera: str) -> bytes | None:
        if (station, camera) not in {("raceway", "top"), ("raceway-live", "left")}:
            return None
        pixels = np.full((480, 640), 110, np.uint8)
        cv2.putText(pixels, station, (40, 240), cv2.FONT_HERSHEY_SIMPLEX, 2, 220, 3)
        return bytes(cv2.imencode(".jpg", pixels)[1])

    def metrics(self) -> bytes:
        return b"linegate_ready 1.0\n"

    def health(self) -> tuple[bool, str]:
        return self.well

    def ready(self) -> tuple[bool, str]:
        return self.is_ready


Served = Callable[..., "asyncio.Future[int]"]


@asynccontextmanager
async def _page(source: FakeSource) -> AsyncIterator[int]:
    sock = bind("127.0.0.1", 0)
    port = sock.getsockname()[1]
    task = asyncio.create_task(serve(make_app(source), sock), name="page")
    try:
        yield port
    finally:
        task.cancel()
        await asyncio.wait({task})


@pytest.fixture
def source() -> FakeSource:
    return FakeSource()


@pytest.fixture
async def port(source: FakeSource) -> AsyncIterator[int]:
    async with _page(source) as number:
        yield number


@pytest.fixture
def free_socket() -> socket.socket:
    return bind("127.0.0.1", 0)
