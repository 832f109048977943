"""The only reader of time.

Deadlines, ages and durations use `monotonic`; `utc` is only ever shown or stored, because people and time servers set
it. Ages of what an earlier process may have made use `steady`. `time.monotonic` is the
system-wide CLOCK_MONOTONIC on Linux, so its values may be compared between our processes.
"""

import time
from datetime import UTC, datetime

_BEGAN = time.time() - time.monotonic()


def monotonic() -> float:
    """Seconds on a clock that never steps, the same in every process of this machine."""
    return time.monotonic()


def utc() -> float:
    """Seconds since 1970-01-01 UTC, for people and records. It may step, forward and back."""
    return time.time()


def steady(at: float | None = None) -> float:
    """UTC as the wall clock was when the process began, without its steps since; `at` is a monotonic time."""
    return _BEGAN + (monotonic() if at is None else at)


def iso(utc_s: float) -> str:
    """ISO 8601 in the zone of this machine, with its offset from UTC and milliseconds, for people."""
    return datetime.fromtimestamp(utc_s, UTC).astimezone().isoformat(timespec="milliseconds")
