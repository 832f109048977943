"""What a signal means, seen by a process of its own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.conftest import ROOT, until
from tests.terminal import Terminal

LISTENER = """
import asyncio, sys
from pathlib import Path
from daemon.signals import heeded

async def main() -> None:
    told = Path(sys.argv[1])
    stop, reload = asyncio.Event(), asyncio.Event()
    with heeded(stop, reload if sys.argv[2] == "reload" else None):
        told.write_text("listening")
        waits = {asyncio.create_task(event.wait(), name=name) for event, name in ((stop, "stop"), (reload, "reload"))}
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        told.write_text(next(iter(done)).get_name())

asyncio.run(main())
"""


@pytest.fixture
def told(tmp_path: Path) -> Path:
    return tmp_path / "told"


def words(told: Path, what: str) -> list[str]:
    return [sys.executable, "-c", LISTENER, str(told), what]


def heard(told: Path) -> str:
    return told.read_text() if told.exists() else ""


@pytest.mark.parametrize("what", ["reload", "nothing to reload"])
def test_a_closed_terminal_stops_what_was_started_in_it(told: Path, what: str) -> None:
    terminal = Terminal(words(told, what), ROOT)
    until(lambda: heard(told) == "listening", "it listens")
    terminal.close()
    assert terminal.process.wait(60) == 0
    assert heard(told) == "stop"


def test_a_closed_terminal_stops_the_job_of_a_shell(told: Path) -> None:
    terminal = Terminal(["bash", "-ic", '"$@" & wait', "bash", *words(told, "reload")], ROOT)
    until(lambda: heard(told) == "listening", "it listens")
    terminal.close()
    terminal.process.wait(60)
    until(lambda: heard(told) == "stop", "the job stops")


def test_a_reload_that_is_asked_for_in_an_open_terminal_is_a_reload(told: Path) -> None:
    terminal = Terminal(words(told, "reload"), ROOT)
    until(lambda: heard(told) == "listening", "it listens")
    terminal.process.send_signal(signal.SIGHUP)
    assert terminal.process.wait(60) == 0
    assert heard(told) == "reload"
    terminal.close()


@pytest.mark.parametrize(("what", "expected"), [("reload", "reload"), ("nothing to reload", "stop")])
def test_without_a_terminal_a_hang_up_is_a_reload_where_there_is_something_to_read_again(
    told: Path, what: str, expected: str
) -> None:
    process = subprocess.Popen(words(told, what), cwd=ROOT, start_new_session=True)
    until(lambda: heard(told) == "listening", "it listens")
    process.send_signal(signal.SIGHUP)
    assert process.wait(60) == 0
    assert heard(told) == expected


def test_what_was_started_by_nohup_outlives_its_terminal(told: Path) -> None:
    terminal = Terminal(["nohup", *words(told, "nothing to reload")], ROOT)
    until(lambda: heard(told) == "listening", "it listens")
    pid = terminal.process.pid
    terminal.close()
    until(lambda: _terminal_of(pid) == 0, "the terminal has gone")
    assert heard(told) == "listening"
    os.kill(pid, signal.SIGTERM)
    assert terminal.process.wait(60) == 0
    assert heard(told) == "stop"


def _terminal_of(pid: int) -> int:
    """The device number of its controlling terminal, 0 for none (proc(5), tty_nr)."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[4])
