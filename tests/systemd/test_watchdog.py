"""The watchdog is fed by progress, never by a timer alone."""

import asyncio
from dataclasses import dataclass
from typing import Protocol

import pytest

from daemon.notify import Notifier
from daemon.watchdog import Progress, Watchdog, record_stages


class Manager(Protocol):
    address: str

    def heard(self) -> list[str]: ...
    def drain(self) -> int: ...


class Stage:
    def __init__(self) -> None:
        self.moved, self.waits = 0, True
        self.progress = Progress(lambda: self.moved, lambda: self.waits, patience=0.0)


def test_a_stage_in_which_something_waits_and_nothing_moves_is_stuck() -> None:
    stage = Stage()

    assert not stage.progress.stuck()
    assert "nothing has moved" in stage.progress.stuck()
    stage.moved += 1
    assert not stage.progress.stuck()


def test_an_idle_stage_is_healthy() -> None:
    stage = Stage()
    stage.waits = False

    assert not any(stage.progress.stuck() for _ in range(3))


async def test_the_manager_is_fed_while_parts_move_and_not_when_they_stand(
    manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    why, asked = "", 0

    def inference() -> str:
        nonlocal asked
        asked += 1
        return why

    async def asked_again(times: int) -> None:
        enough = asked + times
        async with asyncio.timeout(10):
            while asked < enough:
                await asyncio.sleep(0)

    notifier = Notifier(manager.address, watchdog_s=0.01)
    running = asyncio.create_task(Watchdog(notifier, {"inference": inference}).run())
    try:
        await asked_again(3)
        assert manager.heard() == ["WATCHDOG=1"]
        why = "1 crops wait past their deadline"
        await asked_again(1)
        manager.drain()
        await asked_again(3)
        assert manager.drain() == 0
        assert caplog.text.count("inference: 1 crops wait past their deadline") == 1
        why = ""
        await asked_again(3)
        assert manager.drain() > 0
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        notifier.close()


@dataclass
class Recorder:
    backlog: int = 0
    failure: str = ""
    owed: int = 0
    answered: int = 0


@pytest.mark.parametrize(
    ("records", "link_up", "stuck"),
    [
        (Recorder(backlog=3), True, {"store"}),
        (Recorder(backlog=10_000, failure="database or disk is full"), True, set[str]()),
        (Recorder(backlog=1, failure="the disk has not answered for 70 s"), True, set[str]()),
        (Recorder(owed=3), True, {"delivery"}),
        (Recorder(owed=3), False, set[str]()),
        (Recorder(), True, set[str]()),
    ],
)
def test_a_disk_that_refuses_never_leaves_the_watchdog_unfed(records: Recorder, link_up: bool, stuck: set[str]) -> None:
    stages = record_stages(records, stored=lambda: 0, link_up=lambda: link_up, await_ack=False, patience=0.0)
    for ask in stages.values():
        ask()
    assert {name for name, ask in stages.items() if ask()} == stuck
