"""What OpenCV can open: a V4L2 device, an RTSP stream, a video file, a GStreamer pipeline."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlsplit

import cv2
import numpy as np
from pydantic import Field, field_validator

from camera import why
from camera.settings import CameraSettings
from camera.timeline import Timeline
from inspection import clock
from inspection.errors import CameraError
from inspection.frame import Capture, Frame, Pixels
from inspection.verdict import Reason

SourceType = Literal["v4l2", "stream", "file", "gstreamer"]

_STREAM = re.compile(r"(rtsps?|https?|tcp|udp)://", re.IGNORECASE)
_CREDENTIALS = re.compile(r"(\w+://)[^\s'\"]*@")
_OPTIONS_VARIABLE = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_RAW_FORMATS = ("GREY", "Y16 ")
# V4L2 counts exposure in units of 100 microseconds, and 1 is its manual mode.
_V4L2_EXPOSURE_US = 100
_V4L2_MANUAL = 1
# What lies between exposure and arrival where nothing tells: a stream's encoder, network and decoder.
_STARTING_S = 2.0  # of the child's process, until it opens the stream
_STREAM_LATENCY_MS = 300.0
_DEFAULT_FPS = 30.0
_OLDEST_STAMP_S = 5.0


class OpencvConfig(CameraSettings):
    """A camera or video through OpenCV."""

    kind: Literal["opencv"] = Field(description="V4L2, RTSP, video file or GStreamer through OpenCV.")
    source: str = Field(
        min_length=1,
        description="A V4L2 index or device (0, /dev/video0), an rtsp:// URL, a video file, or a GStreamer pipeline "
        "that ends in appsink where the installed OpenCV has GStreamer.",
        json_schema_extra={"type": ["string", "integer"]},  # 0 need not stand in quotes
    )
    password_file: Path | None = Field(
        default=None, description="File with USER:PASSWORD for the URL, so that no secret stands in the configuration."
    )
    loop: bool = Field(default=True, description="Begin a video file again after its end.")
    rate_hz: float | None = Field(
        default=None,
        gt=0,
        le=1000,
        description="Pictures a second on a free-running station; by default all that a live camera gives, and 2 of a "
        "video file.",
    )
    width: int | None = Field(default=None, ge=1, le=65535, description="Pixels to ask a V4L2 device for.")
    height: int | None = Field(default=None, ge=1, le=65535, description="Pixels to ask a V4L2 device for.")
    fps: float | None = Field(default=None, gt=0, description="Rate to ask a V4L2 device for.")
    fourcc: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9 ]{4}$",
        description="Pixel format to ask a V4L2 device for: MJPG, YUYV, or GREY and 'Y16 ' for raw mono.",
    )
    exposure_us: float | None = Field(
        default=None, gt=0, description="Exposure of a V4L2 device in microseconds; by default its automatic."
    )
    gain: float | None = Field(default=None, ge=0, description="Gain of a V4L2 device in its own unit.")
    latency_ms: float | None = Field(
        default=None,
        ge=0,
        le=10000,
        description="Longest time from exposure to arrival: a picture that arrives sooner than this after its trigger "
        "is not inspected. By default one frame's time for V4L2 and 300 for a stream.",
    )

    @field_validator("source", mode="before")
    @classmethod
    def _index_as_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("source")
    @classmethod
    def _whole_url(cls, value: str) -> str:
        if _STREAM.match(value):
            address = urlsplit(value)  # raises ValueError, and so does a port above 65535
            if not address.hostname or address.port == 0:
                raise ValueError("names no host; it must look like rtsp://HOST:554/PATH")
        return value

    @property
    def source_type(self) -> SourceType:
        if self.source.isdigit() or self.source.startswith("/dev/"):
            return "v4l2"
        if _STREAM.match(self.source):
            return "stream"
        return "gstreamer" if "!" in self.source else "file"

    @property
    def pace_hz(self) -> float | None:
        return self.rate_hz or (2.0 if self.source_type == "file" else None)

    @property
    def frozen_after(self) -> int:
        # An encoder repeats a still scene exactly, for up to its key frame distance.
        return {"v4l2": 1, "stream": 25, "gstreamer": 25, "file": 0}[self.source_type]

    @property
    def same_size(self) -> bool:
        return self.source_type != "file"


class OpencvCamera:
    """A live source streams and is drained; a video file gives its next picture when asked."""

    def __init__(self, name: str, config: OpencvConfig) -> None:
        """Raises CameraError (camera_lost); the text never holds the URL's credentials."""
        self.streaming = config.source_type != "file"
        self._name = name
        self._config = config
        self._shown = redact(config.source)
        self._device = self._open()
        self._latency_s = self._latency()
        # RTP carries the camera's clock; for other protocols FFmpeg makes stamps up from a nominal rate.
        self._stamped = config.source.lower().startswith("rtsp")
        self._timeline = Timeline()

    def captures(self) -> Iterator[Capture]:
        number = 0
        rewound = False
        while True:
            asked = clock.monotonic()
            pixels = self._read()
            if pixels is None:
                if self.streaming and clock.monotonic() - asked >= self._config.stall_timeout_s:
                    raise CameraError(Reason.CAMERA_STALLED, f"no picture for {self._config.stall_timeout_s:g} s")
                if self.streaming:
                    raise CameraError(Reason.CAMERA_LOST, f"{self._shown} gives no more pictures")
                if rewound or not self._config.loop:
                    return
                self._device.release()
                self._device = self._open()
                rewound = True
                continue
            rewound = False
            exposed = self._exposed()
            if self._stamped and not self._timeline.started:
                continue
            number += 1
            bit_depth = 8 if pixels.dtype == np.uint8 else 16
            yield Frame(self._name, number, pixels, exposed, bit_depth, self._shown)

    def close(self) -> None:
        self._device.release()

    def _read(self) -> Pixels | None:
        try:
            good, pixels = self._device.read()
        except cv2.error as error:
            raise CameraError(Reason.CAMERA_LOST, f"{self._shown}: {redact(str(error.err))}") from error
        if not good or pixels is None:
            return None
        pixels.flags.writeable = False
        read: Pixels = pixels
        return read

    def _exposed(self) -> float:
        """Monotonic seconds of the latest moment at which the picture just read can have been exposed."""
        now = clock.monotonic()
        if not self.streaming:
            return now
        stamp = self._device.get(cv2.CAP_PROP_POS_MSEC) / 1000
        # The kernel stamps a V4L2 buffer on the same clock; some drivers stamp nothing.
        if self._config.source_type == "v4l2" and 0 <= now - stamp < _OLDEST_STAMP_S:
            now = stamp
        elif self._stamped:
            now = self._timeline.left(now, stamp)
        return now - self._latency_s

    def _latency(self) -> float:
        if self._config.latency_ms is not None:
            return self._config.latency_ms / 1000
        if self._config.source_type == "v4l2":
            return 1 / (self._device.get(cv2.CAP_PROP_FPS) or _DEFAULT_FPS)
        return _STREAM_LATENCY_MS / 1000

    def _open(self) -> Any:
        match self._config.source_type:
            case "v4l2":
                device = self._open_v4l2()
            case "stream":
                device = self._open_stream()
            case "gstreamer":
                if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
                    raise CameraError(Reason.CAMERA_LOST, "this OpenCV was built without GStreamer")
                device = cv2.VideoCapture(self._config.source, cv2.CAP_GSTREAMER)
            case "file":
                if not Path(self._config.source).is_file():
                    raise CameraError(Reason.CAMERA_LOST, f"there is no file {self._shown}")
                device = cv2.VideoCapture(self._config.source, cv2.CAP_FFMPEG)
        if not device.isOpened():
            device.release()
            raise CameraError(Reason.CAMERA_LOST, f"{self._shown} cannot be opened: {self._why()}")
        # Pictures come as the sensor stored them, as those of picture files do: FFmpeg would turn a telephone's film.
        device.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
        return device

    def _why(self) -> str:
        """What a person should look at."""
        match self._config.source_type:
            case "v4l2":
                source = self._config.source
                return why.no_device(Path(f"/dev/video{source}" if source.isdigit() else source))
            case "stream":
                login = self._config.password_file is not None or "@" in self._config.source
                return why.no_stream(self._config.source, login=login)
            case "file":
                return "it is no video that FFmpeg can read"
            case "gstreamer":
                return "try the pipeline with gst-launch-1.0, with fakesink in place of appsink"

    def _open_stream(self) -> Any:
        limits = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(_opening_s(self._config.open_timeout_s) * 1000),
            cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(self._config.stall_timeout_s * 1000),
        ]  # fmt: skip
        with _stream_options():
            return cv2.VideoCapture(self._url(), cv2.CAP_FFMPEG, limits)

    def _url(self) -> str:
        if self._config.password_file is None:
            return self._config.source
        try:
            user, _, password = self._config.password_file.read_text("utf-8").strip().partition(":")
        except OSError as error:
            raise CameraError(Reason.CAMERA_LOST, f"{self._config.password_file}: {error.strerror}") from error
        scheme, _, rest = self._config.source.partition("://")
        return f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@{rest}"

    def _open_v4l2(self) -> Any:
        source = int(self._config.source) if self._config.source.isdigit() else self._config.source
        device = cv2.VideoCapture(source, cv2.CAP_V4L2)
        if not device.isOpened():
            return device
        config = self._config
        wishes: list[tuple[str, int, float | None]] = [
            ("fourcc", cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*config.fourcc) if config.fourcc else None),
            ("raw format", cv2.CAP_PROP_CONVERT_RGB, 0 if config.fourcc in _RAW_FORMATS else None),
            ("width", cv2.CAP_PROP_FRAME_WIDTH, config.width),
            ("height", cv2.CAP_PROP_FRAME_HEIGHT, config.height),
            ("fps", cv2.CAP_PROP_FPS, config.fps),
            ("manual exposure", cv2.CAP_PROP_AUTO_EXPOSURE, _V4L2_MANUAL if config.exposure_us else None),
            (
                "exposure_us",
                cv2.CAP_PROP_EXPOSURE,
                config.exposure_us / _V4L2_EXPOSURE_US if config.exposure_us else None,
            ),
            ("gain", cv2.CAP_PROP_GAIN, config.gain),
        ]
        for key, prop, value in wishes:
            if value is not None and not device.set(prop, value):
                device.release()
                raise CameraError(Reason.CAMERA_LOST, f"{self._shown} refuses {key} {value:g}")
        for key, prop, wanted in (
            ("width", cv2.CAP_PROP_FRAME_WIDTH, config.width),
            ("height", cv2.CAP_PROP_FRAME_HEIGHT, config.height),
        ):
            if wanted is not None and device.get(prop) != wanted:
                given = device.get(prop)
                device.release()
                raise CameraError(Reason.CAMERA_LOST, f"{self._shown} gives {key} {given:g} instead of {wanted}")
        return device


@contextmanager
def _stream_options() -> Iterator[None]:
    """OpenCV reads them from the environment at each open; a video file would lose its first picture by them."""
    before = os.environ.get(_OPTIONS_VARIABLE)
    # UDP loses packets of a picture and shows gray blocks in their place.
    os.environ[_OPTIONS_VARIABLE] = "rtsp_transport;tcp|fflags;nobuffer|flags;low_delay"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_OPTIONS_VARIABLE]
        else:
            os.environ[_OPTIONS_VARIABLE] = before


def redact(text: str) -> str:
    """`text` without the user and password of any URL in it."""
    return _CREDENTIALS.sub(r"\1***@", text)


def _opening_s(open_timeout_s: float) -> float:
    """What the stream itself may take: the child is killed at `open_timeout_s`, and says why before."""
    return max(open_timeout_s / 2, open_timeout_s - why.LONGEST_S - _STARTING_S)
