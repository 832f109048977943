"""A daemon that stood still says so: parts of that time have no verdict, and somebody will ask why."""

import time
from pathlib import Path

import pytest

from tests.daemon.swapping import LEFT, configured, draw_bundle, running


async def test_a_daemon_that_stood_still_says_for_how_long(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = configured(tmp_path, draw_bundle(tmp_path / "left", LEFT).path)
    small = config.model_copy(update={"stations": {"free": config.stations["free"]}})
    async with running(small) as rig:
        time.sleep(1)  # noqa: ASYNC251 - the event loop is kept busy: that is the fault
        await rig.until(lambda: "stood still for" in caplog.text)
