"""No test leaves anything behind: what it started and did not end is named, and the test fails.

A test that starts a program which is not installed is not run, and the last lines name the package (programs.py).
"""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

# What ends by itself, such as a process that was told to go, is given this long. Seconds.
GRACE = 30.0
PROC = Path("/proc")
SHM = Path("/dev/shm")


@pytest.fixture(autouse=True)
def _leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    tasks: list[str] = []
    close = asyncio.Runner.close

    def close_and_note(runner: asyncio.Runner) -> None:
        # Closing a runner cancels what is still pending: the last moment to see it.
        loop = getattr(runner, "_loop", None)
        if loop is not None and not loop.is_closed():
            tasks.extend(f"task {task.get_name()} {task.get_coro()!r}" for task in asyncio.all_tasks(loop))
        close(runner)

    monkeypatch.setattr(asyncio.Runner, "close", close_and_note)
    before = _everything()
    yield
    give_up = time.monotonic() + GRACE
    while left := _new(before):
        if time.monotonic() > give_up:
            break
        time.sleep(0.01)
    if left or tasks:
        pytest.fail("left behind: " + "; ".join(sorted({*left, *tasks})), pytrace=False)


def _everything() -> dict[Callable[[], dict[Any, str]], set[Any]]:
    return {look: set(look()) for look in (_threads, _children, _sockets, _shared_memory)}


def _new(before: dict[Callable[[], dict[Any, str]], set[Any]]) -> list[str]:
    left = {look: {k: name for k, name in look().items() if k not in seen} for look, seen in before.items()}
    listening = _listening() if left[_sockets] else {}
    return [
        *left[_threads].values(),
        *left[_children].values(),
        *(listening[inode] for inode in left[_sockets] if inode in listening),
        *(name for segment, name in left[_shared_memory].items() if _ours(segment)),
    ]


def _threads() -> dict[Any, str]:
    # tqdm keeps one thread for the whole process, by design.
    return {t: f"thread {t.name}" for t in threading.enumerate() if type(t).__name__ != "TMonitor"}


def _children() -> dict[Any, str]:
    """Processes whose parent is this one, those that ended and were not waited for included."""
    found: dict[Any, str] = {}
    for pid, state, parent in _processes():
        if parent != os.getpid():
            continue
        command = _text(PROC / str(pid) / "cmdline").replace("\0", " ").strip()
        # multiprocessing keeps one of these for the whole process, by design.
        if "multiprocessing.resource_tracker" not in command:
            found[pid] = f"{'zombie' if state == 'Z' else 'process'} {pid} {command[:80]}".rstrip()
    return found


def _processes() -> Iterator[tuple[int, str, int]]:
    for entry in os.listdir(PROC):  # noqa: PTH208 - many times per test: names are enough
        if entry.isdigit() and (stat := _text(PROC / entry / "stat")):
            # The command's name, in brackets, may hold anything.
            state, parent = stat.rpartition(")")[2].split()[:2]
            yield int(entry), state, int(parent)


def _sockets() -> dict[Any, str]:
    """Every socket of this process by inode; the name is that of a listening one."""
    found: dict[Any, str] = {}
    for fd in os.listdir(PROC / "self" / "fd"):  # noqa: PTH208
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115
        except FileNotFoundError:
            continue  # the listing's own descriptor
        if target.startswith("socket:["):
            found[target[8:-1]] = target
    return found


def _listening() -> dict[str, str]:
    """TCP sockets in LISTEN by inode. Slow, so asked only when a new socket is left over."""
    found = {}
    for table in ("tcp", "tcp6"):
        for row in _text(PROC / "net" / table).splitlines()[1:]:
            fields = row.split()
            if fields[3] == "0A":
                found[fields[9]] = f"listening port {int(fields[1].rpartition(':')[2], 16)}"
    return found


def _shared_memory() -> dict[Any, str]:
    return {name: f"shared memory {name}" for name in os.listdir(SHM)}  # noqa: PTH208


def _ours(segment: str) -> bool:
    """Whether a new segment may be this run's: no process outside its tree has it mapped."""
    tree = {os.getpid()}
    table = sorted((pid, parent) for pid, _, parent in _processes())
    for _ in table:
        grown = tree | {pid for pid, parent in table if parent in tree}
        if grown == tree:
            break
        tree = grown
    return not any(f"{SHM}/{segment}" in _text(PROC / str(pid) / "maps") for pid, _ in table if pid not in tree)


def _text(path: Path) -> str:
    """A file of /proc, or nothing where its process has gone meanwhile."""
    try:
        return path.read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""


@pytest.fixture(name="free_port")
def _free_port() -> int:
    from tests.ports import free_port  # noqa: PLC0415 - test_leaks runs a copy of this file alone

    return free_port()


def pytest_configure() -> None:
    # Where Debian keeps mosquitto, and where an ordinary user's shell does not look.
    os.environ["PATH"] += os.pathsep + os.pathsep.join(("/usr/local/sbin", "/usr/sbin", "/sbin"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, object, object]:
    return (yield from _started())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    return (yield from _started())


def _started() -> Generator[None, object, object]:
    try:
        return (yield)
    except FileNotFoundError as error:
        from tests.programs import need_started  # noqa: PLC0415 - as above

        need_started(error)
        raise


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        from tests.programs import summary  # noqa: PLC0415 - as above

        for line in summary(report.longrepr[2] for report in skipped):
            terminalreporter.write_line(line)
