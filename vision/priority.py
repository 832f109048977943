"""How much of the processor a worker gets while another one works for the line."""

import logging
import os
import resource
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

LOG = logging.getLogger(__name__)

_MODEST = 10  # a tenth of the time where the live worker wants all of it
_CAP_SYS_NICE = 1 << 23  # linux/capability.h


class Pace(StrEnum):
    """`modest` is for what will be live soon, `idle` for what gets only the time that nobody else wants."""

    FULL = "full"
    MODEST = "modest"
    IDLE = "idle"


def set_pace(pid: int, pace: Pace) -> None:
    """Of a process that was just started, and so of every thread that it will start."""
    with suppress(ProcessLookupError):
        match pace:
            case Pace.MODEST:
                os.setpriority(os.PRIO_PROCESS, pid, _MODEST)
            case Pace.IDLE:
                os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))
            case Pace.FULL:
                pass


def step_forward(pid: int) -> None:
    """Every thread of a modest process works as this process does. Only where `may_step_forward`."""
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    with suppress(FileNotFoundError, ProcessLookupError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            try:
                os.setpriority(os.PRIO_PROCESS, int(thread.name), ours)
            except ProcessLookupError:
                continue
            except PermissionError as error:  # in a container the privilege may be one in name only
                LOG.warning("worker %d stays at its low priority: %s", pid, error.strerror)
                return


def may_step_forward() -> bool:
    """Whether the kernel lets a process become less modest again: that is a privilege, see setpriority(2)."""
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    if resource.getrlimit(resource.RLIMIT_NICE)[0] >= 20 - ours:
        return True
    status = Path("/proc/self/status").read_text("ascii").splitlines()
    effective = next((row.split()[1] for row in status if row.startswith("CapEff:")), "0")
    return bool(int(effective, 16) & _CAP_SYS_NICE)
