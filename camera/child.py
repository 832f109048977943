"""Runs one camera in a process of its own: grab, health, crop, and into the ring.

The process may hang in a driver or be killed at any point; it holds nothing that its parent needs. It ends
with its parent: by the parent-death signal, and by the end of the socket where a thread sees it first.
"""

import ctypes
import os
import socket
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile

import cv2

from camera.camera import Camera
from camera.health import Health
from camera.impression import Impressions
from camera.kinds import CameraConfig, open_camera
from camera.making import Making
from camera.messages import Alive, Ended, Gone, Looked, Make, Opened, Seen, Taken, Unusable, Wanted, receive, send
from camera.pace import Pace
from camera.ring import Ring
from inspection import clock, spawn
from inspection.errors import CameraError
from inspection.frame import Capture, Frame, Missed, ReadRecipe
from inspection.impression import PICTURES
from inspection.verdict import Reason

CLOSE_PATIENCE_S = 1.0

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_FFMPEG_QUIET = "-8"
_ALIVE_EVERY_S = 0.2
_DETAIL_CHARACTERS = 500


@dataclass(frozen=True)
class Setup:
    """All that the child is given. `size` [height, width] is what pictures before this life had.

    It is an argument of the process, which multiprocessing pickles: what a parent gives its own child at its start.
    After that both talk by `camera.messages` alone.
    """

    name: str
    config: CameraConfig
    triggered: bool
    recipes: Mapping[str, str]
    read_recipe: ReadRecipe
    size: tuple[int, int] | None
    parent: int
    sock: socket.socket
    frames: Ring
    crops: Ring


class Requests:
    """Pictures that the parent wants, oldest first. A thread listens: a driver may block the main one.

    `over` is set once the parent wants no more. The camera then has a moment to give its device back.
    """

    def __init__(self, sock: socket.socket, making: Making) -> None:
        self.over = threading.Event()
        self._sock = sock
        self._making = making
        self._waiting: deque[Wanted] = deque()
        self._arrived = threading.Semaphore(0)
        threading.Thread(target=self._listen, name="requests", daemon=True).start()

    def wait(self) -> Wanted | None:
        """The oldest request; blocks until there is one. None when it is over."""
        self._arrived.acquire()
        return None if self.over.is_set() else self._waiting.popleft()

    def before(self, captured: float) -> Wanted | None:
        """The oldest request still of use that a picture exposed at `captured` answers; None when there is none."""
        now = clock.monotonic()
        while self._waiting and self._waiting[0].deadline < now:
            self.wait()
        if self._waiting and self._waiting[0].since <= captured:
            return self.wait()
        return None

    def _listen(self) -> None:
        while True:
            try:
                message = receive(self._sock)
                if isinstance(message, Make):
                    self._making.change(message.recipes)
                    continue
            except (OSError, ValueError):
                message = None
            if not isinstance(message, Wanted):
                break
            self._waiting.append(message)
            self._arrived.release()
        self.over.set()
        self._arrived.release()
        threading.Event().wait(CLOSE_PATIENCE_S)
        os._exit(0)


class Child:
    """The camera's main loop, in one of three shapes: asked for each picture, paced, or as the camera gives them."""

    def __init__(self, setup: Setup, camera: Camera, making: Making, requests: Requests) -> None:
        self._setup = setup
        self._camera = camera
        self._making = making
        self._requests = requests
        self._impressions = Impressions()
        config = setup.config
        self._health = Health(
            config.health, frozen_after=config.frozen_after, same_size=config.same_size, size=setup.size
        )

    def run(self) -> None:
        """Until the source has no more pictures or the parent wants none. Raises CameraError."""
        captures = self._camera.captures()
        if not self._camera.streaming:
            if self._setup.triggered:
                self._asked(captures)
            else:
                self._paced(captures)
        elif self._setup.triggered and not self._setup.config.hardware_trigger:
            self._latest(captures)
        else:
            self._streamed(captures)

    def _asked(self, captures: Iterator[Capture]) -> None:
        while True:
            wanted = self._requests.wait()
            if wanted is None:
                return
            if clock.monotonic() > wanted.deadline:
                self._unusable(self._expired(), wanted.request)
                continue
            capture = next(captures, None)
            if capture is None:
                return
            self._hand_over(capture, wanted.request)

    def _paced(self, captures: Iterator[Capture]) -> None:
        pace = Pace(1 / (self._setup.config.pace_hz or 1.0), self._requests.over)
        pace.wait()
        for capture in captures:
            self._hand_over(capture, 0)
            pace.wait()
            if self._requests.over.is_set():
                return

    def _latest(self, captures: Iterator[Capture]) -> None:
        told = clock.monotonic()
        problem = ""
        for capture in self._until_over(captures):
            wanted = self._requests.before(capture.captured)
            if wanted is not None:
                self._hand_over(capture, wanted.request)
                told = clock.monotonic()
                continue
            if isinstance(capture, Frame):
                problem = self._health.watch(capture)
            if clock.monotonic() - told > _ALIVE_EVERY_S:
                send(self._setup.sock, Alive(problem[:_DETAIL_CHARACTERS]))
                told = clock.monotonic()

    def _streamed(self, captures: Iterator[Capture]) -> None:
        interval = 1 / self._setup.config.pace_hz if self._setup.config.pace_hz else 0.0
        due = told = clock.monotonic()
        problem = ""
        for capture in self._until_over(captures):
            now = clock.monotonic()
            if self._setup.config.hardware_trigger or now >= due:
                self._hand_over(capture, 0)
                due = max(due + interval, now)
                told = now
                continue
            if isinstance(capture, Frame):
                problem = self._health.watch(capture)
            if now - told > _ALIVE_EVERY_S:
                send(self._setup.sock, Alive(problem[:_DETAIL_CHARACTERS]))
                told = now

    def _until_over(self, captures: Iterator[Capture]) -> Iterator[Capture]:
        return takewhile(lambda _: not self._requests.over.is_set(), captures)

    def _hand_over(self, capture: Capture, request: int) -> None:
        if isinstance(capture, Missed):
            self._unusable(capture, request)
            return
        seen: Seen | None = None
        try:
            _expect(self._health.malformed(capture))
            seen = self._show(capture)
            _expect(self._health.unfit(capture))
        except _Unfit as unfit:
            self._unusable(_missed(capture, unfit.reason, unfit.detail), request, seen)
            return
        except ValueError as error:
            self._unusable(_missed(capture, Reason.DECODE_ERROR, str(error)), request, seen)
            return
        with self._making.of(capture) as (places, unmade):
            if places:
                send(self._setup.sock, Taken(request, seen, places, clock.monotonic(), unmade))
            else:
                why = next(iter(unmade.values()))
                self._unusable(_missed(capture, Reason.DECODE_ERROR, why), request, seen)
        self._remember(capture)

    def _remember(self, frame: Frame) -> None:
        """Behind the crop, which is on its way by now: no part waits for it."""
        self._impressions.add(frame.pixels, frame.bit_depth)
        if self._impressions.pictures == PICTURES:
            send(self._setup.sock, Looked(self._impressions.take()))

    def _show(self, frame: Frame) -> Seen:
        """Whatever is a picture can be looked at, also when it must not be judged."""
        place = self._setup.frames.write(frame.pixels)
        return Seen(place, frame.number, frame.captured, frame.bit_depth, frame.source, frame.label)

    def _expired(self) -> Missed:
        return Missed(self._setup.name, 0, Reason.MISSED_TRIGGER, clock.monotonic(), "asked too late")

    def _unusable(self, missed: Missed, request: int, seen: Seen | None = None) -> None:
        send(self._setup.sock, Unusable(request, missed, seen))


class _Unfit(Exception):  # noqa: N818 - a finding, not a fault
    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def main(setup: Setup) -> None:
    """The child's whole life."""
    spawn.die_with(setup.parent)
    cv2.setNumThreads(1)
    _keep_freed_memory()
    # Of a camera that does not open and a picture that cannot be decoded CameraError and PictureError tell more.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", _FFMPEG_QUIET)
    with suppress(BrokenPipeError, ConnectionResetError):  # the station is gone: there is nobody to tell
        _live(setup)


def _live(setup: Setup) -> None:
    making = Making(setup.sock, setup.crops, setup.recipes, setup.read_recipe)
    requests = Requests(setup.sock, making)  # other recipes may be wanted while a camera takes long to open
    try:
        camera = open_camera(setup.name, setup.config)
        try:
            send(setup.sock, Opened(camera.streaming))
            Child(setup, camera, making, requests).run()
        finally:
            camera.close()
        send(setup.sock, Ended())
    except CameraError as error:
        send(setup.sock, Gone(error.reason, error.detail[:_DETAIL_CHARACTERS]))
    except Exception as error:  # noqa: BLE001 - the outermost loop: the parent opens the camera anew and tells why
        detail = f"{type(error).__name__}: {error}"
        send(setup.sock, Gone(Reason.CAMERA_LOST, detail[:_DETAIL_CHARACTERS]))


def _expect(problem: tuple[Reason, str] | None) -> None:
    """That there is none, or raise _Unfit."""
    if problem is not None:
        raise _Unfit(*problem)


def _missed(frame: Frame, reason: Reason, detail: str) -> Missed:
    return Missed(frame.camera, frame.number, reason, frame.captured, detail[:_DETAIL_CHARACTERS], frame.source)


def _keep_freed_memory() -> None:
    """Every picture needs the same megabytes again; to fetch their pages anew took a quarter of the time here."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # glibc's alone
        mallopt(_M_MMAP_THRESHOLD, 32 * 2**20)
        mallopt(_M_TRIM_THRESHOLD, 512 * 2**20)
