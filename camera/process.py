"""A camera in a killable child, as the station sees it.

The driver, the health check and the crop run in the child; only crops and messages reach this process, which
never waits for a camera. A child that owes a picture and gives none, or ends, is replaced after a growing
pause, and all that was asked of it is answered with the reason.
"""

import asyncio
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import assert_never

from camera.child import Setup
from camera.kinds import CameraConfig
from camera.messages import Alive, Ended, Gone, Looked, Make, Making, Opened, Seen, Taken, ToParent, Unusable, Wanted
from camera.recent import RecentPictures
from camera.ring import Ring
from camera.running import FRAME_SLOTS, Running
from camera.usable import Usable, in_words
from inspection import clock
from inspection.backoff import Backoff
from inspection.errors import CameraError, NoImage
from inspection.frame import CropPixels, Crops, Frame, Missed, ReadRecipe
from inspection.impression import Impression
from inspection.probe import Probe
from inspection.repeats import RepeatedTrouble
from inspection.verdict import Reason

LOG = logging.getLogger(__name__)
MAX_OUTSTANDING = 64

_LOOK_EVERY_S = 0.1
_MAKE_PATIENCE_S = 30.0  # longer than a camera's process that does not answer is left alive
_MISSES_BEFORE_RESTART = 3
_CLOSED = Gone(Reason.SHUTDOWN, "closed")
_VANISHED = Gone(Reason.CAMERA_LOST, "its process ended")
_NOT_OPEN = "is it on and connected? A camera that needs longer is given open_timeout_s"
_NO_MORE = Gone(Reason.CAMERA_LOST, "the source has no more pictures")


class CameraProcess:
    """One camera of one station. `up` tells whether it is open; `frames` counts pictures handed over."""

    def __init__(
        self,
        station: str,
        name: str,
        config: CameraConfig,
        recipes: Mapping[str, str],
        read_recipe: ReadRecipe,
        *,
        triggered: bool,
        probe: Probe,
        on_capture: Callable[[Crops | Missed], None],
        on_look: Callable[[Impression], None],
        recall_bytes: int = 0,
    ) -> None:
        """Every picture is made into crops by each of `recipes`, texts by name, which `read_recipe` reads in the child.

        On a triggered station pictures come only through `shoot`; on a free-running one every picture goes to
        `on_capture` on the event loop, and so does one Missed for each time the camera is lost.
        `on_look` is told there what every ten pictures looked like.

        The last pictures can be recalled while they fit into `recall_bytes`, and four in any case.
        """
        self.up = False
        self.opening = True  # until it was open and closed, or failed to open, for the first time
        self.frames = 0
        self._station = station
        self._name = name
        self._recall_bytes = recall_bytes
        self._config = config
        self._recipes = dict(recipes)
        self._read_recipe = read_recipe
        self._making: set[str] = set()
        self._remade = asyncio.Event()
        self._triggered = triggered
        self._probe = probe
        self._on_capture = on_capture
        self._on_look = on_look
        self._child: Running | None = None
        self._streaming = False
        self._down = (Reason.CAMERA_LOST, "not open yet")
        self._trouble = RepeatedTrouble(LOG, f"station {station}, camera {name}")
        self.usable = Usable(LOG, f"station {station}, camera {name}: no picture can be judged")
        self._size: tuple[int, int] | None = None
        self._recent = RecentPictures(name, FRAME_SLOTS)
        self._number = 0
        self._base = 0
        self._last_request = 0
        self._open: dict[int, asyncio.Future[Crops | Missed]] = {}
        self._early: deque[tuple[float, Crops | Missed]] = deque()
        self._owed_since: float | None = None
        self._misses = 0
        self._heard = 0.0
        self._opened = 0.0
        self._up_s = 0.0
        self._over: asyncio.Future[Gone | Ended] | None = None

    async def run(self) -> None:
        """Until cancelled, also when the source has no more pictures. Logs why there are no pictures."""
        await self.play(on_lost=self._log_lost)
        self._log_lost(_NO_MORE)
        await asyncio.Event().wait()

    async def play(self, on_lost: Callable[[Gone], None] = lambda _: None) -> None:
        """Until the source has no more pictures: start a child, watch it, start the next one after a pause."""
        backoff = Backoff(self._config.restart_max_s)
        while True:
            end = await self._life()
            if isinstance(end, Ended):
                return
            on_lost(end)
            self._probe.child_restarted(f"camera:{self._station}/{self._name}", f"{end.reason} {end.detail}")
            await asyncio.sleep(backoff.after(self._up_s))

    async def shoot(self, deadline: float) -> Crops:
        """One picture, exposed after this call, before `deadline` (monotonic seconds). Any number may be open.

        With a hardware trigger, the picture that belongs to this call. Raises NoImage: camera_lost,
        camera_stalled, a frame_ reason, decode_error, overload, or missed_trigger when no picture came in
        time.
        """
        capture = await self._shot(deadline)
        if isinstance(capture, Missed):
            self._probe.frame_missed(self._station, self._name, capture.reason)
            raise NoImage(capture)
        self._count()
        return capture

    async def make(self, recipes: Mapping[str, str]) -> None:
        """Other recipes: every picture that is handed over after this returns has crops by each of `recipes`.

        Pictures go on being handed over meanwhile. Raises CameraError when the child does not answer.
        """
        self._recipes = dict(recipes)
        if self._child is not None and self._making != set(recipes):
            try:
                self._child.ask(Make(self._recipes))
            except OSError:  # full or gone: the next child is started with them
                self._end(Gone(Reason.CAMERA_STALLED, "its process does not listen"))
        try:
            async with asyncio.timeout(_MAKE_PATIENCE_S):
                while self._child is not None and self._making != set(self._recipes):
                    self._remade.clear()
                    await self._remade.wait()
        except TimeoutError as error:
            raise CameraError(Reason.CAMERA_STALLED, f"{self._name} does not take the other recipe") from error
        if self._early:
            await asyncio.sleep(self._config.trigger_slack_s)
            self._drop_unmatched()

    @property
    def pid(self) -> int | None:
        """Of the child; None where there is none."""
        child = self._child
        return child.pid if child else None

    @property
    def trouble(self) -> str:
        """Why there are no pictures, or none that can be judged; empty while there are."""
        return self.usable.problem if self.up else in_words(*self._down)

    def _log_lost(self, end: Gone) -> None:
        self._trouble.occurred(in_words(end.reason, end.detail))

    def picture(self) -> Frame | None:
        """A copy of the last whole picture, fit to be judged or not; None when there is none. From any thread."""
        return self._recent.last()

    def recall(self, number: int) -> Frame | None:
        """A copy of one of the last pictures, by its number; None where later ones have taken its place."""
        return self._recent.numbered(number)

    async def _shot(self, deadline: float) -> Crops | Missed:
        now = clock.monotonic()
        if self._child is None or not self.up:
            return self._missed(*self._down)
        if len(self._open) >= MAX_OUTSTANDING:
            return self._missed(Reason.OVERLOAD, f"{MAX_OUTSTANDING} pictures are outstanding")
        self._drop_unmatched()
        if self._early:
            return self._early.popleft()[1]
        self._last_request += 1
        request = self._last_request
        answer: asyncio.Future[Crops | Missed] = asyncio.get_running_loop().create_future()
        if self._owed_since is None:
            self._owed_since = now
        self._open[request] = answer
        try:
            if self._config.hardware_trigger:
                deadline = min(deadline, now + self._config.trigger_slack_s)
            else:
                self._child.ask(Wanted(request, now, deadline))
            async with asyncio.timeout(max(deadline - now, 0)):
                return await answer
        except TimeoutError:  # an OSError too, so it stands first
            self._misses += 1
            return self._missed(Reason.MISSED_TRIGGER, "no picture in time")
        except OSError:
            return self._missed(Reason.OVERLOAD, "the camera's process does not listen")
        finally:
            self._open.pop(request, None)

    async def _life(self) -> Gone | Ended:
        """One child from start to end, and why it ended."""
        self._base = self._number
        self._owed_since = None
        self._misses = 0
        self._heard = clock.monotonic()
        self._over = over = asyncio.get_running_loop().create_future()
        self._making = set(self._recipes)
        try:
            child = Running(self._setup, frame_bytes=self._config.max_frame_mb * 2**20, recall_bytes=self._recall_bytes)
        except OSError as error:
            self.opening, self._down = False, (Reason.CAMERA_LOST, f"its process cannot be started: {error.strerror}")
            return Gone(*self._down)
        self._child = child
        self._remade.set()
        end: Gone | Ended = _CLOSED
        try:
            with child.reading(self._heed, self._vanished):
                end = await self._watch(over)
        finally:
            healthy = self.up and end is _CLOSED
            self._fall(end)
            self._child = None
            self._remade.set()
            how = await (child.release() if healthy else child.close())
        return replace(_VANISHED, detail=f"{_VANISHED.detail}: {how}") if end is _VANISHED else end

    def _setup(self, sock: socket.socket, frames: Ring, crops: Ring) -> Setup:
        return Setup(
            self._name,
            self._config,
            self._triggered,
            self._recipes,
            self._read_recipe,
            self._size,
            os.getpid(),
            sock,
            frames,
            crops,
        )

    async def _watch(self, over: "asyncio.Future[Gone | Ended]") -> Gone | Ended:
        while True:
            await asyncio.wait({over}, timeout=_LOOK_EVERY_S)
            if over.done():
                return over.result()
            late = self._late()
            if late is not None:
                return late

    def _late(self) -> Gone | None:
        """What the camera owes by now and did not give."""
        now = clock.monotonic()
        patience = self._config.stall_timeout_s
        if not self.up:
            if now - self._heard > self._config.open_timeout_s:
                return Gone(Reason.CAMERA_LOST, f"not open after {self._config.open_timeout_s:g} s; {_NOT_OPEN}")
            return None
        if self._config.hardware_trigger and self._triggered:
            # Nothing shows that a signal wire lives but the pictures that it brings.
            owed = self._owed_since if self._misses >= _MISSES_BEFORE_RESTART else None
        elif self._triggered and not self._streaming:
            owed = self._owed_since
        else:
            owed = self._heard
            patience += 0 if self._streaming else 1 / (self._config.pace_hz or 1.0)
        if owed is not None and now - owed > patience:
            return Gone(Reason.CAMERA_STALLED, f"no picture for {patience:g} s")
        return None

    def _fall(self, end: Gone | Ended) -> None:
        """The camera is down: answer all that is open with the reason."""
        was_up, self.up, self.opening = self.up, False, False
        self._up_s = clock.monotonic() - self._opened if was_up else 0.0
        self._recent.clear()
        self._early.clear()
        gone = end if isinstance(end, Gone) else _NO_MORE
        self._down = (gone.reason, gone.detail)
        for answer in self._open.values():
            if not answer.done():
                answer.set_result(self._missed(*self._down))
        if was_up:
            self._probe.camera_up(self._station, self._name, up=False)
        if was_up and not self._triggered and isinstance(end, Gone) and end.reason is not Reason.SHUTDOWN:
            self._give(self._missed(*self._down))

    def _vanished(self) -> None:
        self._end(_VANISHED)

    def _end(self, end: Gone | Ended) -> None:
        if self._over is not None and not self._over.done():
            self._over.set_result(end)

    def _heed(self, message: ToParent) -> None:
        self._heard = clock.monotonic()
        match message:
            case Opened():
                self._streaming = message.streaming
                self.up = True
                self._opened = self._heard
                self.usable.opened()
                self._trouble.over()
                self._probe.camera_up(self._station, self._name, up=True)
            case Making():
                self._making = set(message.recipes)
                self._remade.set()
            case Taken():
                self._trouble.over()
                self.usable.good()
                self._show(message.seen)
                self._answer(message.request, self._crops(message))
            case Unusable():
                if message.missed.reason is Reason.DECODE_ERROR:
                    self.usable.bad(message.missed.detail)
                if message.seen is not None:
                    self._show(message.seen)
                self._number = max(self._number, self._base + message.missed.number)
                self._answer(message.request, replace(message.missed, number=self._number))
            case Looked():
                self._on_look(message.impression)
            case Alive():
                self._trouble.over()
                self.usable.watched(message.problem)
            case Gone() | Ended():
                self._end(message)
            case _:
                assert_never(message)

    def _show(self, seen: Seen) -> None:
        if self._child is not None:
            self._recent.add(self._child.frames, self._base + seen.number, seen)
        self._size = (seen.place.shape[0], seen.place.shape[1])

    def _crops(self, taken: Taken) -> Crops | Missed:
        seen = taken.seen
        self._number = self._base + seen.number
        pixels: dict[str, CropPixels] = {}
        for recipe, place in taken.places.items():
            read = self._child.crops.read(place) if self._child else None
            if read is None:
                waited = clock.monotonic() - taken.ready
                detail = f"the picture was overwritten before it was read: the daemon was busy for {waited:.1f} s"
                return Missed(self._name, self._number, Reason.OVERLOAD, seen.captured, detail, seen.source)
            pixels[recipe] = read
        return Crops(
            self._name, self._number, pixels, seen.captured, taken.ready, seen.source, seen.label, taken.unmade
        )

    def _answer(self, request: int, capture: Crops | Missed) -> None:
        self._misses = 0
        self._owed_since = None
        if not self._triggered:
            self._give(capture)
            return
        if self._config.hardware_trigger:
            self._pair(capture)
            return
        answer = self._open.pop(request, None)
        if answer is not None and not answer.done():
            answer.set_result(capture)
        if self._open:
            self._owed_since = self._heard

    def _pair(self, capture: Crops | Missed) -> None:
        """A picture belongs to the oldest open request; without one it waits a moment for its trigger."""
        for answer in self._open.values():
            if not answer.done():
                answer.set_result(capture)
                return
        self._early.append((self._heard, capture))
        asyncio.get_running_loop().call_later(self._config.trigger_slack_s, self._drop_unmatched)

    def _drop_unmatched(self) -> None:
        now = clock.monotonic()
        while self._early and now - self._early[0][0] >= self._config.trigger_slack_s:
            self._early.popleft()
            self._probe.frame_unmatched(self._station, self._name)

    def _give(self, capture: Crops | Missed) -> None:
        if isinstance(capture, Missed):
            self._probe.frame_missed(self._station, self._name, capture.reason)
        else:
            self._count()
        self._on_capture(capture)

    def _count(self) -> None:
        self.frames += 1
        self._probe.frame(self._station, self._name)

    def _missed(self, reason: Reason, detail: str) -> Missed:
        return Missed(self._name, self._number, reason, clock.monotonic(), detail)
