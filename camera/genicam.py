"""GigE Vision, USB3 Vision, CoaXPress: whatever has a GenTL producer (a vendor's .cti file), through harvesters.

Three ways of exposing: `software` (when a picture is asked for), `hardware` (a sensor on the line is wired to the
camera; pictures and MQTT triggers are paired), `off` (the camera streams by itself and is drained).
"""

import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from camera.formats import FrameIds, PixelFormat, to_pixels
from camera.settings import CameraSettings
from inspection import clock
from inspection.errors import CameraError, PictureError
from inspection.extras import how_to_add
from inspection.frame import Capture, Frame, Missed
from inspection.verdict import Reason

_FETCH_S = 0.5
# Names of one feature: the standard's, then what older GigE cameras call it.
_EXPOSURE = ("ExposureTime", "ExposureTimeAbs", "ExposureTimeRaw")
_GAIN = ("Gain", "GainRaw")


class GenicamConfig(CameraSettings):
    """A GenICam camera."""

    kind: Literal["genicam"] = Field(description="GenICam through a GenTL producer; needs the extra `genicam`.")
    cti: tuple[Path, ...] = Field(min_length=1, description="GenTL producer files (.cti) from the camera's vendor.")
    serial: str | None = Field(default=None, description="Serial number of the camera; by default chosen by index.")
    index: int = Field(default=0, ge=0, description="Which of the cameras found, where no serial is given.")
    trigger: Literal["software", "hardware", "off"] = Field(
        default="software",
        description="`software`: exposes when a picture is asked for. `hardware`: at a signal on trigger_source. "
        "`off`: streams.",
    )
    trigger_source: str = Field(default="Line1", description="The camera's input for `trigger: hardware`.")
    trigger_activation: Literal["RisingEdge", "FallingEdge", "LevelHigh", "LevelLow"] = Field(
        default="RisingEdge", description="What the signal does when the part is there."
    )
    trigger_slack_ms: float = Field(
        default=100,
        gt=0,
        le=10000,
        description="With `trigger: hardware`: a picture and its MQTT trigger come within this time of each other, in "
        "either order. Keep it below the shortest time between two parts, or a lost picture shifts all that follow.",
    )
    rate_hz: float = Field(
        default=2.0, gt=0, le=1000, description="Pictures a second on a free-running station with `trigger: software`."
    )
    latency_ms: float = Field(
        default=100,
        ge=0,
        le=10000,
        description="With `trigger: off` on a triggered station: longest time from exposure to arrival; a picture that "
        "arrives sooner than this after its trigger is not inspected.",
    )
    pixel_format: PixelFormat = Field(default="Mono8", description="What the camera sends.")
    width: int | None = Field(default=None, ge=1, description="Pixels; by default as the camera stands.")
    height: int | None = Field(default=None, ge=1, description="Pixels; by default as the camera stands.")
    exposure_us: float | None = Field(default=None, gt=0, description="Microseconds; by default as the camera stands.")
    gain: float | None = Field(default=None, ge=0, description="In the camera's unit; by default as it stands.")
    buffers: int = Field(default=8, ge=2, le=256, description="Pictures that the producer may hold.")

    @property
    def pace_hz(self) -> float | None:
        return self.rate_hz if self.trigger == "software" else None

    @property
    def hardware_trigger(self) -> bool:
        return self.trigger == "hardware"

    @property
    def trigger_slack_s(self) -> float:
        return self.trigger_slack_ms / 1000

    def features(self) -> list[tuple[tuple[str, ...], str | float]]:
        """What to write to the camera, in this order: names, the first that it has counts, and the value."""
        wishes: list[tuple[tuple[str, ...], str | float]] = [(("PixelFormat",), self.pixel_format)]
        wishes += [((name,), float(value)) for name, value in (("Width", self.width), ("Height", self.height)) if value]
        if self.exposure_us is not None:
            wishes += [(("ExposureAuto", ""), "Off"), (_EXPOSURE, self.exposure_us)]
        if self.gain is not None:
            wishes += [(("GainAuto", ""), "Off"), (_GAIN, self.gain)]
        if self.trigger == "off":
            return [*wishes, (("TriggerMode", ""), "Off")]
        wishes += [(("TriggerSelector", ""), "FrameStart"), (("TriggerMode",), "On")]
        if self.trigger == "software":
            return [*wishes, (("TriggerSource",), "Software")]
        return [
            *wishes,
            (("TriggerSource",), self.trigger_source),
            (("TriggerActivation", ""), self.trigger_activation),
        ]


class GenicamCamera:
    """Gaps in the stream's frame ids are told as Missed with the reason missed_trigger."""

    def __init__(self, name: str, config: GenicamConfig) -> None:
        """Raises CameraError (camera_lost)."""
        self.streaming = config.trigger != "software"
        self._name = name
        self._config = config
        self._incomplete = 0
        self._harvester, self._acquirer = _connect(config)
        try:
            self._nodes = self._acquirer.remote_device.node_map
            for names, value in config.features():
                _write(self._nodes, names, value)
            self._acquirer.num_buffers = max(config.buffers, self._acquirer.min_num_buffers)
            self._listen()
            self._acquirer.start()
        except CameraError:
            self.close()
            raise
        except _errors() as error:
            self.close()
            raise CameraError(Reason.CAMERA_LOST, f"the camera does not start: {error}") from error

    def captures(self) -> Iterator[Capture]:
        ids = FrameIds()
        number = 0
        fresh = clock.monotonic()
        while True:
            waited = self._is_waiting()
            asked = clock.monotonic()
            if self._config.trigger == "software":
                self._fire()
            fetched = self._fetch(asked)
            if fetched is None:
                ids.lost_one()
                number += 1
                yield Missed(self._name, number, Reason.DECODE_ERROR, asked, "the picture arrived incomplete")
                continue
            frame_id = fetched[0]
            arrived = clock.monotonic()
            for _ in range(ids.lost_before(frame_id)):
                number += 1
                yield Missed(self._name, number, Reason.MISSED_TRIGGER, arrived, "the stream lost a picture")
            number += 1
            # A picture that was there already is of unknown age: no younger than the last one that was not.
            fresh = fresh if waited else arrived
            captured = {"software": asked, "hardware": arrived, "off": fresh - self._config.latency_ms / 1000}
            yield self._capture(number, captured[self._config.trigger], fetched[1:])

    def close(self) -> None:
        # A device that is gone cannot be told, and what it answers must not hide why it is closed.
        with suppress(*_errors()):
            self._acquirer.destroy()
        with suppress(*_errors()):
            self._harvester.reset()

    def _capture(self, number: int, captured: float, fetched: "tuple[np.ndarray[Any, Any], int, int, str]") -> Capture:
        try:
            pixels, depth = to_pixels(*fetched)
        except PictureError as error:
            return Missed(self._name, number, Reason.DECODE_ERROR, captured, str(error))
        return Frame(self._name, number, pixels, captured, depth)

    def _is_waiting(self) -> bool:
        """Whether the producer holds a picture that came while we did something else."""
        try:
            return any(stream.num_awaiting_delivery > 0 for stream in self._acquirer.data_streams)
        except _errors():
            return False  # the producer does not tell

    def _fetch(self, asked: float) -> "tuple[int, np.ndarray[Any, Any], int, int, str] | None":
        """Frame id, a copy of the data, width, height and format; None for a picture that arrived incomplete.

        Raises CameraError (camera_stalled) where the camera owes a picture and gives none.
        """
        while True:
            try:
                buffer = self._acquirer.try_fetch(timeout=_FETCH_S)
                if buffer is not None:
                    part = buffer.payload.components[0]
                    answer = (buffer.module.frame_id, part.data.copy(), part.width, part.height, part.data_format)
                    buffer.queue()
                    return answer
            except _errors() as error:
                raise CameraError(Reason.CAMERA_LOST, f"the stream broke: {error}") from error
            if self._incomplete:
                self._incomplete -= 1
                return None
            owes = self._config.trigger != "hardware"
            if owes and clock.monotonic() - asked > self._config.stall_timeout_s:
                raise CameraError(Reason.CAMERA_STALLED, f"no picture for {self._config.stall_timeout_s:g} s")

    def _fire(self) -> None:
        try:
            self._nodes.TriggerSoftware.execute()
        except _errors() as error:
            raise CameraError(Reason.CAMERA_LOST, f"the software trigger failed: {error}") from error

    def _listen(self) -> None:
        from harvesters.core import Callback  # noqa: PLC0415

        camera = self

        class Incomplete(Callback):  # type: ignore[misc]
            def emit(self, context: object = None) -> None:  # noqa: ARG002 - the library's signature
                camera._incomplete += 1

        self._acquirer.add_callback(self._acquirer.Events.INCOMPLETE_BUFFER, Incomplete())


def find_devices(cti: tuple[Path, ...]) -> list[dict[str, str]]:
    """Vendor, model, serial and access of every camera that the producers see. Raises CameraError."""
    harvester = _harvester(cti)
    try:
        return [
            {
                "vendor": str(device.property_dict["vendor"]),
                "model": str(device.property_dict["model"]),
                "serial": str(device.property_dict["serial_number"]),
                "transport": str(device.property_dict["tl_type"]),
            }
            for device in harvester.device_info_list
        ]
    finally:
        harvester.reset()


def _connect(config: GenicamConfig) -> tuple[Any, Any]:
    harvester = _harvester(config.cti)
    key = {"serial_number": config.serial} if config.serial is not None else config.index
    try:
        return harvester, harvester.create(key)
    except _errors(ValueError, IndexError) as error:
        found = [device.property_dict["serial_number"] for device in harvester.device_info_list]
        harvester.reset()
        wanted = f"serial {config.serial}" if config.serial is not None else f"index {config.index}"
        detail = f"no camera with {wanted} can be opened; serials found: {found}; {error}"
        raise CameraError(Reason.CAMERA_LOST, detail) from error


def _harvester(cti: tuple[Path, ...]) -> Any:
    try:
        from harvesters.core import Harvester  # noqa: PLC0415
    except ImportError as error:
        detail = f"harvesters is not installed: {how_to_add('genicam')}"
        raise CameraError(Reason.CAMERA_LOST, detail) from error
    # What it logs comes to us as an exception as well; its tracebacks are not for the line's journal.
    logging.getLogger("harvesters.core").setLevel(logging.CRITICAL)
    for path in cti:
        if not path.is_file():
            raise CameraError(Reason.CAMERA_LOST, f"there is no GenTL producer {path}")
    harvester = Harvester()
    try:
        for path in cti:
            harvester.add_file(str(path), check_validity=True)
        harvester.update()
    except _errors(OSError) as error:
        harvester.reset()
        raise CameraError(Reason.CAMERA_LOST, f"the GenTL producer cannot be used: {error}") from error
    return harvester


def _write(nodes: Any, names: tuple[str, ...], value: str | float) -> None:
    """Write the first feature of `names` that the camera has; an empty name at the end makes it optional."""
    name = next((name for name in names if name and nodes.has_node(name)), None)
    if name is None and names[-1] == "":
        return
    if name is None:
        remedy = "; set trigger: off" if names[0].startswith("Trigger") else ""
        raise CameraError(Reason.CAMERA_LOST, f"the camera has no {names[0]}{remedy}")
    node = getattr(nodes, name)
    # An integer feature refuses a float, also a whole one.
    value = int(value) if isinstance(value, float) and value.is_integer() else value
    try:
        node.value = value
    except _errors(TypeError) as error:
        choice = getattr(node, "symbolics", ())
        told = f"it takes {', '.join(choice)}" if choice else str(error).partition(" : ")[0]
        raise CameraError(Reason.CAMERA_LOST, f"the camera refuses {name} = {value}: {told}") from error


def _errors(*more: type[Exception]) -> tuple[type[Exception], ...]:
    from genicam import genapi, gentl  # noqa: PLC0415

    return (genapi.GenericException, gentl.GenericException, *more)
