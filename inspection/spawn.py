"""Child processes that leave signals to their parent and live no longer than it."""

import asyncio
import ctypes
import multiprocessing.connection  # noqa: F401 - `join` would import it when files may have run out
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from multiprocessing import get_context, resource_tracker
from multiprocessing.context import SpawnProcess
from typing import Any, TypeVar

T = TypeVar("T")

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PARENTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def start(target: Callable[..., None], *args: Any, name: str) -> SpawnProcess:
    """Spawn a process that runs `target(*args)`. Raises OSError when the machine is out of processes or files.

    Ctrl-C, a stop of the service and a closed terminal reach the whole process group; when a child ends is the
    parent's business. So the child inherits a mask in which SIGINT, SIGTERM and SIGHUP are blocked.
    """
    process = get_context("spawn").Process(target=target, args=args, name=name, daemon=True)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _PARENTS)
    try:
        # It is started with the first child otherwise, and unblocks two of them on its way (CPython 3.11 to 3.13).
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, _PARENTS)
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return process


def keep_program() -> None:
    """Called first in the program: children that start later import the file that this process runs.

    A child imports its parent's script by name. Where the name goes through a link, an upgrade may have turned it.
    """
    script = getattr(sys.modules["__main__"], "__file__", None)
    if script is not None:
        sys.modules["__main__"].__file__ = os.path.realpath(script)


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives; a cancellation waits for it, so that no child is left half ended."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


def die_with(parent: int) -> None:
    """Called first in a child: the kernel kills it with its parent's thread that started it.

    A child stuck in a driver would see no closed pipe.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the call above
        os._exit(1)
