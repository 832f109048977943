"""The worker's child process: what runs in it, and the parent's handle of it.

The arguments of the process are pickled by multiprocessing: what a parent gives its own child at its start. After
that both talk by `vision.messages` alone.
"""

import asyncio
import contextlib
import multiprocessing
import os
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection

import numpy as np
from numpy.typing import NDArray

from inspection import clock, spawn
from inspection.errors import BackendError, BundleError
from vision.arena import Arena
from vision.classifier import Backend
from vision.messages import Answer, Failed, Job, NotOpened, Opened, receive, send

Opener = Callable[[], Backend]
"""Opens the backend, in the child. Picklable. Raises BundleError or BackendError for an unusable model."""

MEASURE_FOR_S = 0.1
LEAVE_S = 0.5
DIE_S = 5.0


def serve(opener: Opener, arena: Arena, pipe: Connection, parent: int) -> None:
    """Run in the child: open, warm up, then score batches until the parent's end of the pipe closes."""
    spawn.die_with(parent)
    with contextlib.suppress(EOFError, OSError):  # the parent is gone, or no longer wants us
        try:
            backend = opener()
            curve = warm_up(backend, arena.slots[0])
        except Exception as error:  # noqa: BLE001 - the outermost loop of this process
            invalid = isinstance(error, (BundleError, BackendError))
            send(pipe, NotOpened(str(error) if invalid else _told(error), invalid))
            return
        send(pipe, Opened(backend.name, curve))
        _Desk(backend, arena, pipe).serve()


def warm_up(backend: Backend, slots: NDArray[np.uint8]) -> list[float]:
    """Run every batch size once unmeasured, then up to three times; the median seconds of each size.

    `slots`: uint8 [max_batch, channels, height, width]. Raises BackendError when the backend does not give
    one score for each crop.
    """
    slots[:] = 128  # mid-grey: zeros could meet a shortcut for empty pictures
    curve = []
    for size in range(1, len(slots) + 1):
        crops = slots[:size]
        scores = np.asarray(backend.score(crops))
        if scores.shape != (size,):
            raise BackendError(f"{backend.name} gave scores of shape {scores.shape} for {size} crops")
        times: list[float] = []
        while len(times) < 3 and sum(times) < MEASURE_FOR_S:
            began = clock.monotonic()
            backend.score(crops)
            times.append(clock.monotonic() - began)
        curve.append(sorted(times)[len(times) // 2])
    return curve


class _Desk:
    """Scores jobs as they come, with as many callers as the backend takes, and answers in their order."""

    def __init__(self, backend: Backend, arena: Arena, pipe: Connection) -> None:
        self._backend = backend
        self._arena = arena
        self._pipe = pipe
        self._receiving = threading.Lock()
        self._answering = threading.Condition()
        self._taken = 0
        self._answered = 0
        self._last_answer = 0.0

    def serve(self) -> None:
        """Returns when the parent's end of the pipe has closed."""
        others = [threading.Thread(target=self._work, name="caller") for _ in range(self._backend.callers - 1)]
        for other in others:
            other.start()
        self._work()
        for other in others:
            other.join()

    def _work(self) -> None:
        with contextlib.suppress(EOFError, OSError, ValueError):  # the parent is gone, or no longer wants us
            while True:
                # Whoever holds the lock waits for the next job: no thread has to wake another.
                with self._receiving:
                    job = receive(self._pipe)
                    if not isinstance(job, Job):
                        return
                    number, self._taken = self._taken, self._taken + 1
                self._answer(number, job, clock.monotonic())

    def _answer(self, number: int, job: Job, began: float) -> None:
        found: NDArray[np.float32] | str
        try:
            found = np.asarray(self._backend.score(self._arena.slots[job.place, : job.size]), np.float32)
        except Exception as error:  # noqa: BLE001 - the outermost loop of this process
            found = _told(error)
        with self._answering:
            self._answering.wait_for(lambda: self._answered == number)
            now = clock.monotonic()
            # Until the answer before, the device was also busy with that job.
            seconds, self._last_answer = now - max(began, self._last_answer), now
            self._answered += 1
            self._answering.notify_all()
            send(self._pipe, Failed(job.id, found) if isinstance(found, str) else Answer(job.id, found, seconds))


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]


class Child:
    """The parent's handle of one child.

    Made on the event loop's thread, which must last as long as the process: the kernel ends the child with
    the thread that started it.
    """

    def __init__(self, opener: Opener, arena: Arena) -> None:
        self.pipe, theirs = multiprocessing.Pipe()
        try:
            with theirs:
                self._process = spawn.start(serve, opener, arena, theirs, os.getpid(), name="linegate-worker")
        except OSError:
            self.pipe.close()
            raise
        self.pid = self._process.pid

    def send(self, job: Job) -> None:
        """Never blocks: a job is a hundred bytes and no more are under way than there are places."""
        with contextlib.suppress(OSError):  # it has just died: the reader of the pipe is told, and tells
            send(self.pipe, job)

    def kill(self) -> None:
        self._process.kill()

    async def end(self) -> int | None:
        """Close the pipe, wait for the child to leave, kill it when it does not; its exit code.

        None when even SIGKILL did not end it (stuck in a driver): it is left to the kernel, because waiting
        would hold up the line. It only ever reads the arena.
        """
        self.pipe.close()
        gone = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._process.sentinel, gone.set)
        try:
            for patience in (LEAVE_S, DIE_S):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(patience):
                        await gone.wait()
                        break
                self._process.kill()
        finally:
            loop.remove_reader(self._process.sentinel)
            self._process.kill()
        if not gone.is_set():
            return None
        self._process.join()
        code = self._process.exitcode
        self._process.close()
        return code
