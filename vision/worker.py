"""The worker: supervises the child process that owns the device.

A broken child costs verdicts, never the daemon: it is restarted for as long as the daemon lives.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from inspection import clock, spawn
from inspection.errors import NotScored
from inspection.frame import CropPixels
from inspection.probe import Probe
from inspection.verdict import Reason
from vision.arena import Arena
from vision.child import Child, Opener
from vision.latency import LatencyCurve
from vision.messages import Answer, Failed, Job, NotOpened, Opened, receive
from vision.priority import Pace, set_pace, step_forward

PLACES = 2
"""Batches under way at most: one is computed, one lies ready so that the device does not wait for us."""

BACK_OFF_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Pauses before one restart after another; past the last the worker counts as failed and the last is kept."""

HEALTHY_S = 10.0
RAISES_IN_A_ROW = 3
STUCK_S = 2.0
HANG_FACTOR = 10
MODEST_FACTOR = 5

log = logging.getLogger(__name__)


class State(StrEnum):
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    MODEL_INVALID = "model_invalid"
    STOPPED = "stopped"


@dataclass(slots=True)
class _Flight:
    job: Job
    deadline: float
    answer: asyncio.Future[Answer]
    begun: float = 0.0


class Worker:
    """One child, one device, one model.

    `state`, `failure` (why it is not ready, in words), `ready`, `backend_name` and `latency` are for reading.
    `on_ready` and `on_lost` (with the reason for whoever waits) are called from the event loop. `pace`
    is how much of the processor its children get.
    """

    def __init__(
        self,
        opener: Opener,
        *,
        crop_shape: tuple[int, int, int],
        max_batch: int,
        probe: Probe,
        model: str,
        start_timeout_s: float = 60.0,
        hang_timeout_s: float = 5.0,
        back_off_s: Sequence[float] = BACK_OFF_S,
        pace: Pace = Pace.FULL,
    ) -> None:
        """`crop_shape` is (channels, height, width); `model` the first 12 hex digits of the bundle's hash."""
        self.crop_shape = crop_shape
        self.max_batch = max_batch
        self.model = model
        self.pace = pace
        self.state = State.STARTING
        self.failure = ""
        self.ready = asyncio.Event()
        self.settled = asyncio.Event()
        """Set once the first child is ready, or is known not to become so."""
        self.backend_name = ""
        self.curve: LatencyCurve | None = None
        self.pid: int | None = None
        self.on_ready: Callable[[], None] = lambda: None
        self.on_lost: Callable[[NotScored], None] = lambda _why: None
        self._opener = opener
        self._probe = probe
        self._start_timeout_s = start_timeout_s
        self._hang_timeout_s = hang_timeout_s
        self._back_off_s = tuple(back_off_s)
        self._arena: Arena | None = None
        self._flights: list[_Flight] = []
        self._jobs = 0
        self._raised = 0
        self._ready_since = math.inf
        self._watch: asyncio.TimerHandle | None = None

    @property
    def latency(self) -> list[float]:
        """Seconds by batch size, index 0 is batch 1; empty until the worker was ready once."""
        return self.curve.seconds_by_batch if self.curve else []

    @property
    def refusal(self) -> NotScored | None:
        """Why nothing can be scored for a while; None when what comes now may wait for a score."""
        match self.state:
            case State.STARTING | State.READY:
                return None
            case State.FAILED:
                return NotScored(Reason.WORKER_FAILED, self.failure)
            case State.MODEL_INVALID:
                return NotScored(Reason.MODEL_INVALID, self.failure)
            case State.STOPPED:
                return NotScored(Reason.SHUTDOWN)

    @property
    def under_way(self) -> int:
        """Batches handed over and not answered, 0..PLACES."""
        return len(self._flights)

    def free_at(self, now: float) -> float:
        """The moment, by the latency curve, at which all that is under way will be done; `now` when idle."""
        assert self.curve is not None
        free = -math.inf
        for flight in self._flights:
            free = max(free, flight.begun) + self.curve.seconds(flight.job.size)
            free = max(free, now)  # it takes longer than expected: it may be done at any moment
        return max(free, now)

    def hangs(self, now: float) -> bool:
        """The batch under way takes so long that its child is not believed to be alive."""
        return bool(self._flights) and now >= self._flights[0].begun + self._patience(self._flights[0])

    def stuck(self, now: float) -> str:
        """A batch that should have been given up long ago: this process, not the child, is at fault."""
        if self._flights and now > self._flights[0].begun + self._hang_timeout_s + STUCK_S:
            return f"a batch of {self._flights[0].job.size} is neither answered nor given up"
        return ""

    def reopen_with(self, opener: Opener) -> None:
        """How the next child opens its backend; the one that runs is left alone."""
        self._opener = opener

    def take_over(self, latency: Sequence[float]) -> None:
        """The line's work is this worker's from now on.

        `latency` is how long batches take where that is known better than from a warm-up beside a busy worker, which
        is too long, so that parts would be refused for it; else empty.
        """
        if self.pace is not Pace.FULL and self.pid is not None:
            step_forward(self.pid)
        self.pace = Pace.FULL
        if latency:
            self.curve = LatencyCurve(latency)

    def submit(self, crops: Sequence[CropPixels], deadline: float) -> asyncio.Future[Answer]:
        """Hand a batch over: 1..max_batch crops of `crop_shape`, the earliest `deadline` among them.

        Only while `ready` is set and fewer than PLACES batches are under way. The future raises NotScored.
        """
        place = next(place for place in range(PLACES) if all(place != f.job.place for f in self._flights))
        assert self._arena is not None
        for slot, crop in zip(self._arena.slots[place], crops, strict=False):
            slot[:] = crop
        self._jobs += 1
        job = Job(self._jobs, place, len(crops))
        flight = _Flight(job, deadline, asyncio.get_running_loop().create_future(), clock.monotonic())
        self._flights.append(flight)
        self._child.send(job)
        if len(self._flights) == 1:
            self._watch_first()
        return flight.answer

    async def run(self) -> None:
        """Keep a child running until cancelled. Returns only by cancellation."""
        tries = 0
        try:
            while True:
                child, code, why = None, None, NotScored(Reason.SHUTDOWN)
                try:
                    child = self._start()
                    why = await self._follow(child)
                    child.kill()
                except OSError as error:  # the machine is out of processes, files or memory
                    why = NotScored(Reason.WORKER_FAILED, f"its process cannot be started: {error.strerror}")
                finally:
                    tries = 1 if clock.monotonic() - self._ready_since >= HEALTHY_S else tries + 1
                    self._lost(why, tries)
                    if child is not None:
                        code = await spawn.to_the_end(child.end())
                pause = self._back_off_s[min(tries, len(self._back_off_s)) - 1]
                if self.state is State.MODEL_INVALID:
                    pause = self._back_off_s[-1]
                log.error("worker: %s (exit code %s), next try in %g s", why, code, pause)
                self._probe.child_restarted("worker", str(why.reason))
                await asyncio.sleep(pause)
        finally:
            if self._arena is not None:
                self._arena.close()

    def _start(self) -> Child:
        self._ready_since = math.inf
        if self._arena is None:
            self._arena = Arena((PLACES, self.max_batch, *self.crop_shape))
        child = self._child = Child(self._opener, self._arena)
        if child.pid is not None:
            set_pace(child.pid, self.pace)
        return child

    async def _follow(self, child: Child) -> NotScored:
        """Serve through this child for as long as it can go on; why it cannot."""
        loop = asyncio.get_running_loop()
        self._gone: asyncio.Future[NotScored] = loop.create_future()
        self._began, self._ready_since, self._raised, self.pid = clock.monotonic(), math.inf, 0, child.pid
        patience = self._start_timeout_s * (1 if self.pace is Pace.FULL else MODEST_FACTOR)
        late = NotScored(Reason.WORKER_FAILED, f"not ready after {patience:g} s")
        self._watch = loop.call_later(patience, self._lose, late)
        loop.add_reader(child.pipe.fileno(), self._read)
        try:
            return await self._gone
        finally:
            loop.remove_reader(child.pipe.fileno())
            self._watch.cancel()

    def _lost(self, why: NotScored, tries: int) -> None:
        """The child is gone: whoever waits for an answer is told at once."""
        self.ready.clear()
        self.pid = None
        self.failure = str(why)
        if why.reason is Reason.SHUTDOWN:
            self.state = State.STOPPED
        elif why.reason is Reason.MODEL_INVALID:
            self.state = State.MODEL_INVALID
        else:
            self.state = State.FAILED if tries > len(self._back_off_s) else State.STARTING
        flights, self._flights = self._flights, []
        for flight in flights:
            flight.answer.set_exception(NotScored(why.reason, why.detail))
        self.settled.set()
        self.on_lost(why)

    def _read(self) -> None:
        """Called when the child's pipe has a message. They are written whole, so this does not block."""
        try:
            message = receive(self._child.pipe)
        except (EOFError, OSError):
            self._lose(NotScored(Reason.WORKER_FAILED, "the worker's process ended"))
            return
        except ValueError as error:
            self._lose(NotScored(Reason.WORKER_FAILED, f"the worker's process says what is {error}"))
            return
        match message:
            case Opened():
                self._opened(message)
            case NotOpened():
                reason = Reason.MODEL_INVALID if message.invalid else Reason.WORKER_FAILED
                self._lose(NotScored(reason, message.detail))
            case Answer() | Failed():
                self._land(message)

    def _opened(self, opened: Opened) -> None:
        assert self._watch is not None
        self._watch.cancel()
        self.backend_name = opened.backend
        self.curve = LatencyCurve(opened.seconds_by_batch)
        self._ready_since = clock.monotonic()
        self._probe.latency_curve(opened.seconds_by_batch)
        log.info("worker: %s ready, %.1f ms for one crop", opened.backend, 1e3 * opened.seconds_by_batch[0])
        self.state, self.failure = State.READY, ""
        self.ready.set()
        self.settled.set()
        self.on_ready()

    def _land(self, message: Answer | Failed) -> None:
        assert self.curve is not None
        assert self._watch is not None
        if not self._flights or self._flights[0].job.id != message.id:
            return
        flight = self._flights.pop(0)
        self._watch.cancel()
        if self._flights:
            self._flights[0].begun = clock.monotonic()
            self._watch_first()
        size = flight.job.size
        if isinstance(message, Failed):
            self._fail(flight, message.detail)
        elif message.scores.shape != (size,):
            self._fail(flight, f"the backend gave scores of shape {message.scores.shape} for {size} crops")
        else:
            self._raised = 0
            self.curve.observe(size, message.seconds)
            self._probe.batch(size, message.seconds)
            self._probe.latency_curve(self.latency)
            flight.answer.set_result(message)

    def _fail(self, flight: _Flight, detail: str) -> None:
        log.error("worker: a batch of %d failed: %s", flight.job.size, detail)
        flight.answer.set_exception(NotScored(Reason.WORKER_FAILED, detail))
        self._raised += 1
        if self._raised >= RAISES_IN_A_ROW:  # some device errors stay until the process ends
            self._lose(NotScored(Reason.WORKER_FAILED, detail))

    def _watch_first(self) -> None:
        """Set the moment at which the batch that is computed now counts as hung.

        That is its deadline, since nobody waits for it longer; but a batch that is late by less than a new
        child takes to start must not cost a restart, and one with a distant deadline must not hold the line up.
        """
        flight = self._flights[0]
        late = max(flight.deadline, flight.begun + self._patience(flight))
        until = min(late, flight.begun + self._hang_timeout_s)
        hung = NotScored(Reason.WORKER_HUNG, f"a batch of {flight.job.size} was not done in time")
        self._watch = asyncio.get_running_loop().call_at(until, self._lose, hung)

    def _patience(self, flight: _Flight) -> float:
        assert self.curve is not None
        usual = HANG_FACTOR * self.curve.seconds(flight.job.size)
        return min(max(usual, self._ready_since - self._began), self._hang_timeout_s)

    def _lose(self, why: NotScored) -> None:
        if not self._gone.done():
            self._gone.set_result(why)
