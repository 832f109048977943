"""A source with realistic content, a page served on a free port, and a real browser."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from tests.programs import need


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
    failed = LastVerdict(Outcome.FAIL, Reason.SCORE, 0.9731, "part-001299", 0.3, "pitting/0451_t12.png", Label.NG)
    passed = LastVerdict(Outcome.PASS, Reason.SCORE, 0.0182, "4711", 0.1, "ok/0192_t03.png", Label.OK)
    nothing = LastVerdict(Outcome.NO_VERDICT, Reason.CAMERA_STALLED, None, "4709", 12.4)
    live = _station("raceway-live", passed, mode="free", rate_per_s=2.0, late=1)
    two = (
        CameraView("left", up=True, picture=880, last=passed),
        CameraView("right", up=False, picture=None, last=nothing, trouble="camera_lost: /dev/video9: no such device"),
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
def page(source: FakeSource) -> Callable[[], AbstractAsyncContextManager[int]]:
    return lambda: _page(source)


@pytest.fixture
async def port(source: FakeSource) -> AsyncIterator[int]:
    async with _page(source) as number:
        yield number


class Browser:
    """A headless Chromium, spoken to over its DevTools pipe (--remote-debugging-pipe)."""

    def __init__(self, process: asyncio.subprocess.Process, to: int, back: asyncio.StreamReader) -> None:
        self._process, self._to, self._back = process, to, back
        self._number = 0
        self._session = ""

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = json.loads((await self._back.readuntil(b"\0"))[:-1])
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return dict(answer["result"])

    async def open(self, url: str, width: int, height: int, scheme: str = "light") -> None:
        self._session = ""
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        await self.call("Emulation.setDeviceMetricsOverride", **metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await self.call("Emulation.setEmulatedMedia", features=features)
        await self.call("Page.navigate", url=url)

    async def value(self, expression: str) -> Any:
        result = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return result["result"].get("value")

    async def until(self, expression: str) -> None:
        """Returns once the page says so; the page itself looks."""
        look = f"(function look() {{ ({expression}) ? done(1) : setTimeout(look, 20) }})()"
        wait = f"new Promise((done) => {look})"
        async with asyncio.timeout(30):
            await self.call("Runtime.evaluate", expression=wait, awaitPromise=True)

    async def close(self) -> None:
        self._session = ""
        await self.call("Browser.close")
        async with asyncio.timeout(10):
            await self._process.wait()


@asynccontextmanager
async def chromium(profile: Path) -> AsyncIterator[Browser]:
    there_read, to = os.pipe()
    back, there_write = os.pipe()
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars "
        "--remote-debugging-pipe"
    )
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        f'exec chromium {flags} --user-data-dir="$0" 3<&{there_read} 4>&{there_write} 2>/dev/null',
        str(profile),
        pass_fds=(there_read, there_write),
        start_new_session=True,
    )
    os.close(there_read)
    os.close(there_write)
    reader = asyncio.StreamReader(limit=1 << 26)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(back, "rb", 0)
    )
    browser = Browser(process, to, reader)
    try:
        yield browser
        await browser.close()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        transport.close()
        os.close(to)


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    need("chromium")
    async with chromium(tmp_path / "profile") as running:
        yield running
