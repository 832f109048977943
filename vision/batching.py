"""Crops of all stations into batches for the one device.

docs/adr/0003-work-conserving-batching.md tells why a batch is not held back until the oldest part's slack is
used up.
"""

import asyncio
import bisect
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inspection import clock
from inspection.errors import NotScored
from inspection.frame import CropPixels
from inspection.probe import Probe
from inspection.verdict import Reason
from vision.classifier import Classifier, Scored
from vision.messages import Answer
from vision.worker import PLACES, STUCK_S, Worker

HAND_OVER_S = 0.001
"""What the way to the child and back adds to a batch's time."""

LEAD_S = 0.002
"""How long before the device is expected to be free the next batch is closed and handed over."""


@dataclass(slots=True, eq=False)
class _Call:
    """The crops of one part. `taken` of them were handed over, `missing` have no score yet."""

    crops: CropPixels
    deadline: float
    asked: float
    scored: asyncio.Future[Scored]
    scores: NDArray[np.float32]
    missing: int
    taken: int = 0
    begun: float = 0.0

    @property
    def left(self) -> int:
        return len(self.crops) - self.taken


Batch = list[tuple[_Call, int]]
"""Calls and the index of the crop in each."""


class Batcher(Classifier):
    """What the stations call.

    A batch is handed over when the device is idle or about to be, with whatever waits by then, the most
    urgent first. It is never so large that its most urgent part would be late by the latency curve, and a
    part that will be late anyway is refused without device time.
    """

    def __init__(self, worker: Worker, *, max_batch: int, max_waiting: int, probe: Probe) -> None:
        """`max_batch`: at most the worker's. `max_waiting`: crops; more is refused as overload."""
        if not 1 <= max_batch <= worker.max_batch:
            raise ValueError(f"max_batch {max_batch} is not within 1..{worker.max_batch}")
        self._worker = worker
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._probe = probe
        self._waiting: list[_Call] = []  # the earliest deadline first
        self._depth = 0  # crops in _waiting
        self._closed = False
        self._moved = asyncio.Event()
        self._closing: asyncio.TimerHandle | None = None
        worker.on_ready = self._moved.set
        worker.on_lost = self._refuse_all

    async def score(self, crops: CropPixels, deadline: float) -> Scored:
        """See Classifier; also refused as model_invalid. The crops must not change until this returns.

        Raises ValueError for crops that are not the model's input.
        """
        if crops.dtype != np.uint8 or crops.shape[1:] != self._worker.crop_shape or not len(crops):
            raise ValueError(f"{crops.dtype} {crops.shape} is not uint8 (n > 0, *{self._worker.crop_shape})")
        now = clock.monotonic()
        self._admit(len(crops), deadline, now)
        loop = asyncio.get_running_loop()
        scores = np.full(len(crops), np.nan, np.float32)
        call = _Call(crops, deadline, now, loop.create_future(), scores, len(crops))
        bisect.insort(self._waiting, call, key=_urgency)
        self._count(len(crops))
        self._moved.set()
        timer = loop.call_at(deadline, self._expire, call)
        try:
            return await call.scored
        finally:
            timer.cancel()
            self._forget(call)

    @property
    def stuck(self) -> str:
        """What should have been answered long ago, for the watchdog; empty while all is well."""
        now = clock.monotonic()
        if self._waiting and now > self._waiting[0].deadline + STUCK_S:
            return f"{self._depth} crops wait past their deadline"
        return self._worker.stuck(now)

    def close(self) -> None:
        """Refuse newcomers; what waits is still scored."""
        self._closed = True

    async def run(self) -> None:
        """Form batches until cancelled; then whoever waits is refused, and every newcomer too."""
        try:
            while True:
                await self._moved.wait()
                self._moved.clear()
                self._fill()
        finally:
            self.close()
            self._refuse_all(NotScored(Reason.SHUTDOWN))

    def _admit(self, crops: int, deadline: float, now: float) -> None:
        """Raise NotScored when it is known already that these crops will get no score."""
        if self._closed:
            raise NotScored(Reason.SHUTDOWN)
        if (refusal := self._worker.refusal) is not None:
            raise refusal
        if now >= deadline:
            raise NotScored(Reason.DEADLINE, "asked too late")
        ahead = sum(call.left for call in self._waiting if call.deadline <= deadline)
        if not self._in_time(ahead + crops, deadline, now):
            raise self._too_late(deadline, now)
        if self._depth + crops > self._max_waiting:
            raise NotScored(Reason.OVERLOAD, f"{self._depth} crops are waiting")

    def _in_time(self, crops: int, deadline: float, now: float) -> bool:
        """Whether this many crops, begun when the device is free, are expected to be scored in time."""
        if self._worker.curve is None or not self._worker.ready.is_set():
            return True  # not known yet; the deadline itself will tell
        done = self._worker.free_at(now) + self._worker.curve.seconds(crops) + HAND_OVER_S
        return done <= deadline

    def _too_late(self, deadline: float, now: float) -> NotScored:
        if self._worker.curve is not None and not self._worker.under_way:
            self._worker.curve.relax()
        return NotScored(Reason.DEADLINE, f"cannot be scored within {1e3 * (deadline - now):.1f} ms")

    def _fill(self) -> None:
        """Hand over what waits, as far as the device can take it now."""
        if self._closing is not None:
            self._closing.cancel()
        while self._waiting and self._worker.ready.is_set() and self._worker.under_way < PLACES:
            now = clock.monotonic()
            # The later a batch is closed, the more there is to put into it.
            close_at = self._worker.free_at(now) - LEAD_S
            if self._worker.under_way and self._depth < self._max_batch and now < close_at:
                self._closing = asyncio.get_running_loop().call_at(close_at, self._moved.set)
                return
            batch = self._choose(now)
            if batch:
                self._count(-len(batch))
                answer = self._worker.submit(
                    [call.crops[index] for call, index in batch], min(call.deadline for call, _ in batch)
                )
                answer.add_done_callback(lambda answer, batch=batch: self._answered(batch, answer))  # type: ignore[misc]

    def _choose(self, now: float) -> Batch:
        """Take the next batch out of what waits; refuse what can no longer make it. May be empty."""
        batch: Batch = []
        for call in list(self._waiting):
            if not self._in_time(len(batch) + call.left, call.deadline, now):
                self._refuse(call, self._too_late(call.deadline, now))
                continue
            for index in range(call.taken, len(call.crops)):
                if len(batch) == self._max_batch:
                    return batch
                if batch and not self._in_time(len(batch) + 1, batch[0][0].deadline, now):
                    return batch
                batch.append((call, index))
                call.taken += 1
                if not call.left:
                    self._waiting.remove(call)
        return batch

    def _answered(self, batch: Batch, answer: asyncio.Future[Answer]) -> None:
        self._moved.set()
        error = answer.exception()
        if isinstance(error, NotScored):
            for call, _ in batch:
                self._refuse(call, NotScored(error.reason, error.detail))
            return
        now, result = clock.monotonic(), answer.result()
        for (call, index), score in zip(batch, result.scores, strict=True):
            call.scores[index] = score
            call.missing -= 1
            call.begun = call.begun or now - result.seconds
            if not call.missing and not call.scored.done():
                queued = max(call.begun - call.asked, 0.0)
                inferred = now - call.asked - queued
                call.scored.set_result(
                    Scored(call.scores, self._worker.model, queued, inferred, self._worker.backend_name)
                )

    def _expire(self, call: _Call) -> None:
        """The deadline has come before the score."""
        now = clock.monotonic()
        if call.taken and self._worker.hangs(now):
            self._refuse(call, NotScored(Reason.WORKER_HUNG, "no score at the deadline"))
        elif not self._worker.ready.is_set():
            detail = f"starting; {self._worker.failure}".rstrip("; ")
            self._refuse(call, NotScored(Reason.WORKER_FAILED, detail))
        else:
            self._refuse(call, NotScored(Reason.DEADLINE, "being scored" if call.taken else "waiting"))

    def _refuse(self, call: _Call, why: NotScored) -> None:
        self._forget(call)
        if not call.scored.done():
            call.scored.set_exception(why)

    def _refuse_all(self, why: NotScored) -> None:
        for call in list(self._waiting):
            self._refuse(call, NotScored(why.reason, why.detail))

    def _forget(self, call: _Call) -> None:
        """Its crops that were not handed over are no longer wanted."""
        if call in self._waiting:
            self._waiting.remove(call)
            self._count(-call.left)

    def _count(self, crops: int) -> None:
        self._depth += crops
        self._probe.queue_depth("inference", self._depth)


def _urgency(call: _Call) -> float:
    return call.deadline
