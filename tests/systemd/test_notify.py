from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from daemon.notify import Notifier
from inspection import clock
from inspection.errors import ConfigError


class Manager(Protocol):
    address: str

    def heard(self) -> list[str]: ...


@pytest.fixture
def notifier(manager: Manager) -> Iterator[Notifier]:
    made = Notifier(manager.address)
    yield made
    made.close()


def test_the_manager_hears_ready_with_a_status(manager: Manager, notifier: Notifier) -> None:
    assert notifier.ready("2 stations")
    assert manager.heard() == ["READY=1", "STATUS=2 stations"]


def test_the_manager_hears_progress_status_and_the_end(manager: Manager, notifier: Notifier) -> None:
    assert notifier.watchdog()
    assert notifier.status("broker away")
    assert notifier.stopping("SIGTERM")
    assert [manager.heard() for _ in range(3)] == [
        ["WATCHDOG=1"],
        ["STATUS=broker away"],
        ["STOPPING=1", "STATUS=SIGTERM"],
    ]


def test_a_reload_carries_the_monotonic_time_in_microseconds(manager: Manager, notifier: Notifier) -> None:
    before = clock.monotonic()
    assert notifier.reloading()
    said, when = manager.heard()
    assert said == "RELOADING=1"
    assert before * 1e6 - 1 <= int(when.removeprefix("MONOTONIC_USEC=")) <= clock.monotonic() * 1e6


def test_a_status_cannot_smuggle_in_an_assignment(manager: Manager, notifier: Notifier) -> None:
    assert notifier.status("camera said\nMAINPID=1")
    assert manager.heard() == ["STATUS=camera said MAINPID=1"]


def test_a_daemon_started_by_hand_tells_nobody() -> None:
    notifier = Notifier.from_environment({}, pid=7)
    assert not notifier.ready("")
    assert notifier.watchdog_s == 0
    notifier.close()


def test_a_manager_gone_or_deaf_never_stops_the_daemon(tmp_path: Path, manager: Manager) -> None:
    gone = Notifier(str(tmp_path / "nobody"))
    assert not gone.ready("")
    gone.close()
    deaf = Notifier(manager.address)
    assert not all(deaf.watchdog() for _ in range(100_000))
    deaf.close()


def test_the_watchdog_interval_is_read_in_seconds_and_only_when_it_is_ours() -> None:
    for pid, expected in (("7", 30.0), ("8", 0.0)):
        notifier = Notifier.from_environment({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": pid}, pid=7)
        assert notifier.watchdog_s == expected
        notifier.close()


@pytest.mark.parametrize(
    "environment", [{"NOTIFY_SOCKET": "vsock:2:1"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "9" * 5000}]
)
def test_a_manager_that_is_not_understood_is_a_config_error(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=next(iter(environment))):
        Notifier.from_environment(environment, pid=7)
