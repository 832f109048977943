"""Logs a trouble that repeats: at once when it begins, then in summaries, and once more when it is over.

A broker that is away for a night would otherwise fill the log with one line for each attempt.
"""

import logging

from inspection import clock

FIRST_SUMMARY_S = 10.0
LONGEST_SUMMARY_S = 300.0
STEADY_S = 10.0
RELAPSE_S = 60.0  # a trouble that is back so soon is still the same
MAX_CAUSES = 5  # told at once; a cause whose text differs each time is summarised after these


class RepeatedTrouble:
    """One trouble of one thing, such as "press: broker". For one thread.

    The first occurrence is logged at once, and so is a new cause while there are few. All others are counted. A
    summary with the count follows after 10 s, then after twice as long each time, up to 5 minutes. It is written on an
    occurrence, so that no timer is needed: call `occurred` for each failed attempt, and `over` for each success.
    """

    def __init__(self, log: logging.Logger, what: str, *, level: int = logging.WARNING) -> None:
        """`what` begins each line."""
        self._log, self._what, self._level = log, what, level
        self._causes: set[str] = set()
        self._lasts = self._relapsed = False
        self._count = 0
        self._began = self._latest = self._well_since = 0.0
        self._next_summary = self._pause_s = 0.0

    @property
    def lasts(self) -> bool:
        """Whether it has occurred and is not over."""
        return self._lasts

    def occurred(self, cause: str) -> None:
        """It happened, or happened again. `cause` says why, and what to do where that is known."""
        now = clock.monotonic()
        if self._lasts and now - self._latest > max(2 * self._pause_s, LONGEST_SUMMARY_S):
            self._end(self._latest)  # nobody said so, but it has not occurred for long
        if not self._lasts:
            self._begin(now)
        self._lasts = True
        self._count += 1
        self._latest, self._well_since = now, 0.0
        if cause not in self._causes and len(self._causes) < MAX_CAUSES:
            self._causes.add(cause)
            self._log.log(self._level, "%s: %s", self._what, cause)
        elif now >= self._next_summary:
            self._summarise(cause, now)

    def over(self) -> None:
        """All is well; nothing is logged where it did not occur. May be called for every success.

        A trouble that comes and goes is over when it has stayed away for 10 s.
        """
        if not self._lasts:
            return
        now = clock.monotonic()
        self._well_since = self._well_since or now
        if not self._relapsed or now - self._well_since >= STEADY_S:
            self._end(now)

    def _begin(self, now: float) -> None:
        self._relapsed = self._count > 0 and now - self._latest < RELAPSE_S
        if self._relapsed:
            return  # it goes on counting
        self._causes.clear()
        self._count = 0
        self._began, self._pause_s = now, FIRST_SUMMARY_S
        self._next_summary = now + self._pause_s

    def _end(self, at: float) -> None:
        self._log.info("%s: over after %s, seen %s", self._what, as_span(at - self._began), _times(self._count))
        self._lasts = False

    def _summarise(self, cause: str, now: float) -> None:
        lasted = as_span(now - self._began)
        self._log.log(self._level, "%s: still: %s (seen %s in %s)", self._what, cause, _times(self._count), lasted)
        self._pause_s = min(2 * self._pause_s, LONGEST_SUMMARY_S)
        self._next_summary = now + self._pause_s


def as_span(seconds: float) -> str:
    """A duration for people: 45 s, 12 min, 3 h 5 min."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
