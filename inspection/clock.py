"""The only reader of time.

Deadlines, ages and durations use `monotonic`; `utc` is only ever shown or stored. `time.monotonic` is the
system-wide CLOCK_MONOTONIC on Linux, so its values may be compared between our processes.
"""

import time


def monotonic() -> float:
    """Seconds on a clock that never steps, the same in every process of this machine."""
    return time.monotonic()


def utc() -> float:
    """Seconds since 1970-01-01 UTC, for people and records."""
    return time.time()
