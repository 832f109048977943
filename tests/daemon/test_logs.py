import json
import logging
import os
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from daemon.logs import HumanFormatter, JsonFormatter


def record(text: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "camera", "levelname": "INFO", "levelno": 20, "msg": text, "args": args})
    vars(made).update(extra)
    return made


def test_credentials_in_urls_never_reach_the_log() -> None:
    made = record("opening %s", "rtsp://admin:hunter2@10.0.0.9/stream and mqtts://u:p@host")

    for formatter in (HumanFormatter(), JsonFormatter()):
        told = formatter.format(made)
        assert "hunter2" not in told
        assert "u:p" not in told
        assert "rtsp://***@10.0.0.9/stream" in told


def test_a_message_from_outside_cannot_forge_a_line() -> None:
    made = record("trigger %s", "x\n2026-01-01 ERROR forged\x1b[2J")

    told = HumanFormatter().format(made)

    assert "\n" not in told
    assert "\x1b" not in told
    assert r"\n2026" in told
    assert len(JsonFormatter().format(made).splitlines()) == 1


def test_json_lines_carry_the_extra_fields() -> None:
    told = json.loads(JsonFormatter().format(record("verdict", station="press", seq=3)))

    assert (told["message"], told["station"], told["seq"], told["level"]) == ("verdict", "press", 3, "info")


@pytest.mark.parametrize(("zone", "shown"), [("UTC", "12:00:00.123+00:00"), ("CET-1", "13:00:00.123+01:00")])
def test_the_time_of_a_line_carries_its_zone(zone: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    made = record("verdict", created=1_796_126_400.123)
    try:
        told = json.loads(JsonFormatter().format(made))
        assert HumanFormatter().format(made).startswith(f"2026-12-01T{shown} INFO ")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert (told["t"], told["time"]) == (1_796_126_400.123, f"2026-12-01T{shown}")


TELLER = """
import logging, sys
from daemon import logs, scribe
logs.set_up("info", "human")
for number in range(3 * scribe.MOST_LINES):
    logging.getLogger("line").info("part %d", number)
print("nobody waited", flush=True)
sys.stdin.read()
logging.getLogger("line").info("the last word")
"""


def test_a_reader_of_the_log_that_has_stopped_holds_nobody_up_and_hears_what_it_missed() -> None:
    reading, writing = os.pipe()
    _fill(writing)

    with subprocess.Popen(
        [sys.executable, "-c", TELLER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=writing, text=True
    ) as teller:
        os.close(writing)
        assert teller.stdout is not None
        assert teller.stdin is not None
        assert teller.stdout.readline() == "nobody waited\n"
        with os.fdopen(reading, encoding="ascii") as log:
            heard = [next(row for row in log if "part 0" in row)]
            heard += [next(row for row in log if "lines of the log are lost" in row)]
            teller.stdin.close()
            heard += log.readlines()
    assert teller.returncode == 0
    assert heard[-1].endswith("line: the last word\n")


def _fill(pipe: int) -> None:
    """So that whoever writes to it next waits for a reader."""
    os.set_blocking(pipe, False)
    with suppress(BlockingIOError):
        while True:
            os.write(pipe, b"\n" * 4096)
    os.set_blocking(pipe, True)
