"""Feeds systemd's watchdog while parts move, and only then.

A timer that runs by itself would keep a dead pipeline alive. Each stage is asked instead whether something waits
in it that does not move; an idle stage is healthy, and a missing camera or broker is not cured by a restart. Nor is a
disk that is full, read-only or hangs: while parts get their verdicts, it must not stop the line.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from daemon.notify import Notifier
from inspection import clock

LOG = logging.getLogger(__name__)
RECORD_PATIENCE_S = 60.0

Stuck = Callable[[], str]  # what does not move, or "" while all is well


class Recorder(Protocol):
    """See transport.records.records.Records."""

    @property
    def backlog(self) -> int: ...
    @property
    def failure(self) -> str: ...
    @property
    def owed(self) -> int: ...
    @property
    def answered(self) -> int: ...


class Progress:
    """A stage that has to move while something waits in it: `moved` counts up, `waits` says whether it should."""

    def __init__(self, moved: Callable[[], int], waits: Callable[[], bool], *, patience: float) -> None:
        """`patience` is the longest standstill in seconds."""
        self._moved, self._waits, self._patience = moved, waits, patience
        self._seen, self._since = -1, clock.monotonic()

    def stuck(self) -> str:
        """Empty while the stage moves or nothing waits in it."""
        now, seen = clock.monotonic(), self._moved()
        if seen != self._seen or not self._waits():
            self._seen, self._since = seen, now
        still = now - self._since
        return f"nothing has moved for {still:.0f} s" if still > self._patience else ""


def record_stages(
    records: Recorder,
    *,
    stored: Callable[[], int],
    link_up: Callable[[], bool],
    await_ack: bool,
    patience: float = RECORD_PATIENCE_S,
) -> dict[str, Stuck]:
    """Records reach the disk while it takes them, and the broker while it answers.

    With `await_ack` a consumer may take as long as it likes.
    """
    return {
        "store": Progress(stored, lambda: records.backlog > 0 and not records.failure, patience=patience).stuck,
        "delivery": Progress(
            lambda: records.answered, lambda: records.owed > 0 and link_up() and not await_ack, patience=patience
        ).stuck,
    }


class Watchdog:
    """Asks every stage a few times an interval; the first that is stuck leaves the watchdog unfed."""

    def __init__(self, notifier: Notifier, stages: Mapping[str, Stuck]) -> None:
        self._notifier = notifier
        self._stages = stages

    def stuck(self) -> str:
        """The stage that does not move and why, or an empty text."""
        for stage, ask in self._stages.items():
            why = ask()
            if why:
                return f"{stage}: {why}"
        return ""

    async def run(self) -> None:
        """Until cancelled. Without WATCHDOG_USEC in the environment it only logs what is stuck."""
        interval = self._notifier.watchdog_s or 30.0
        told = ""
        while True:
            why = self.stuck()
            if not why:
                self._notifier.watchdog()
            elif why != told:
                LOG.error("not feeding the watchdog: %s", why)
            told = why
            await asyncio.sleep(interval / 4)
