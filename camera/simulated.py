"""Parts that never were, with defects that are known: ground steel with dark pits, drawn from a seed.

For trying out a line before its camera is there, and for showing what happens when a camera misbehaves.
"""

import os
import signal
from collections.abc import Iterator
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from camera.pace import Pace, sleep
from camera.settings import CameraSettings
from inspection import clock
from inspection.errors import CameraError
from inspection.frame import Capture, Frame, Missed, Pixels
from inspection.part import Label
from inspection.verdict import Reason

Altered = Literal["dark", "blown", "garbage", "size_change", "dim", "blur", "shift"]
Deed = Literal["stall", "freeze", "skip", "disconnect", "die", Altered]


class Misbehaviour(BaseModel):
    """What the simulated camera does wrong, and when."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    at: int = Field(ge=1, description="Number of the first picture concerned, counted from 1 at each opening.")
    do: Deed = Field(
        description="`stall`: give nothing for so many pictures' time; `freeze`: repeat the picture before; `dark`, "
        "`blown`: no light, too much; `garbage`: no image at all; `size_change`: half the width; `skip`: lose the "
        "picture and say so; `disconnect`: the device is gone; `die`: the driver takes its process with it; `dim`, "
        "`blur`, `shift`: a third less light, out of focus, the camera turned by a twentieth of the width."
    )
    for_frames: int = Field(default=1, ge=1, description="How many pictures it concerns.")


class SimulatedConfig(CameraSettings):
    """A simulated camera."""

    kind: Literal["simulated"] = Field(description="Procedural parts, no hardware.")
    mode: Literal["on_demand", "stream", "hardware_trigger"] = Field(
        default="on_demand",
        description="`on_demand`: exposes when asked. `stream`: at rate_hz by itself. `hardware_trigger`: as if a "
        "sensor on the line released it at rate_hz.",
    )
    width: int = Field(default=640, ge=16, le=8192, description="Pixels.")
    height: int = Field(default=480, ge=16, le=8192, description="Pixels.")
    color: bool = Field(default=False, description="Three channels instead of one.")
    bit_depth: Literal[8, 10, 12, 16] = Field(default=8, description="Bits of a pixel.")
    rate_hz: float = Field(default=2.0, gt=0, le=1000, description="Pictures a second.")
    frames: int | None = Field(default=None, ge=1, description="The camera ends after so many; by default never.")
    seed: int = Field(default=0, ge=0, description="The same seed gives the same parts.")
    distinct: int | None = Field(
        default=None,
        ge=2,
        le=1000,
        description="So many different parts, shown again and again: drawn once, they then cost nothing, as with a "
        "real camera. By default every part is drawn anew.",
    )
    defect_share: float = Field(default=0.2, ge=0, le=1, description="Share of parts that have pits.")
    script: tuple[Misbehaviour, ...] = Field(default=(), description="What goes wrong, and when.")
    trigger_slack_ms: float = Field(
        default=100,
        gt=0,
        le=10000,
        description="With `mode: hardware_trigger`: see the genicam camera's key of this name.",
    )

    @property
    def pace_hz(self) -> float | None:
        return self.rate_hz if self.mode == "on_demand" else None

    @property
    def hardware_trigger(self) -> bool:
        return self.mode == "hardware_trigger"

    @property
    def trigger_slack_s(self) -> float:
        return self.trigger_slack_ms / 1000


class SimulatedCamera:
    """One part for each picture, labelled. `source` is simulated:SEED/NUMBER."""

    def __init__(self, name: str, config: SimulatedConfig) -> None:
        self.streaming = config.mode != "on_demand"
        self._name = name
        self._config = config
        self._last: Frame | None = None
        self._drawn: dict[int, tuple[Pixels, Label]] = {}

    def captures(self) -> Iterator[Capture]:
        pace = Pace(1 / self._config.rate_hz)
        number = 0
        while self._config.frames is None or number < self._config.frames:
            number += 1
            if self.streaming:
                pace.wait()
            yield self._capture(number)

    def close(self) -> None:
        """Nothing is held."""

    def _capture(self, number: int) -> Capture:
        deed = next((m for m in self._config.script if m.at <= number < m.at + m.for_frames), None)
        captured = clock.monotonic()
        part = number if self._config.distinct is None else (number - 1) % self._config.distinct + 1
        pixels, label = self._part(part)
        frame = Frame(
            self._name,
            number,
            pixels,
            captured,
            self._config.bit_depth,
            f"simulated:{self._config.seed}/{part}",
            label,
        )
        capture = frame if deed is None else self._misbehave(deed, frame)
        self._last = capture if isinstance(capture, Frame) else self._last
        return capture

    def _part(self, part: int) -> tuple[Pixels, Label]:
        if self._config.distinct is None:
            return draw_part(self._config, part)
        if part not in self._drawn:
            self._drawn[part] = draw_part(self._config, part)
        return self._drawn[part]

    def _misbehave(self, deed: Misbehaviour, frame: Frame) -> Capture:
        match deed.do:
            case "stall":
                sleep(deed.for_frames / self._config.rate_hz if deed.at == frame.number else 0)
                return _with(frame, frame.pixels)
            case "freeze":
                return _with(frame, frame.pixels if self._last is None else self._last.pixels)
            case "skip":
                return Missed(self._name, frame.number, Reason.MISSED_TRIGGER, frame.captured, "skipped by script")
            case "disconnect":
                raise CameraError(Reason.CAMERA_LOST, "disconnected by script")
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
                raise AssertionError
            case altered:
                return _with(frame, _altered(frame, altered))


def draw_part(config: SimulatedConfig, number: int) -> tuple[Pixels, Label]:
    """Part `number` of the seed: [height, width] or [height, width, 3], and whether it has pits."""
    rng = np.random.default_rng((config.seed, number))
    bad = bool(rng.random() < config.defect_share)
    rows = 130 + 25 * np.sin(np.linspace(0, 9, config.height, dtype=np.float32) + rng.uniform(0, 6))
    surface = np.repeat(rows.astype(np.float32)[:, None], config.width, axis=1)
    surface *= np.float32(rng.uniform(0.9, 1.1))
    surface += 3 * rng.standard_normal(config.width, dtype=np.float32)
    if bad:
        _dig_pits(surface, rng)
    surface += 2 * rng.standard_normal(surface.shape, dtype=np.float32)
    scaled = np.clip(surface, 4, 250) * np.float32((2**config.bit_depth - 1) / 255)
    gray: Pixels = scaled.astype(np.uint8 if config.bit_depth == 8 else np.uint16)
    pixels: Pixels = np.repeat(gray[:, :, None], 3, axis=2) if config.color else gray  # type: ignore[assignment]
    pixels.flags.writeable = False
    return pixels, Label.NG if bad else Label.OK


def _dig_pits(surface: NDArray[np.float32], rng: np.random.Generator) -> None:
    height, width = surface.shape
    unit = max(min(height, width) // 40, 2)
    for _ in range(int(rng.integers(1, 4))):
        center = (int(rng.integers(width // 4, 3 * width // 4)), int(rng.integers(height // 4, 3 * height // 4)))
        axes = (int(rng.integers(unit, 3 * unit)), int(rng.integers(unit, 2 * unit)))
        cv2.ellipse(surface, center, axes, float(rng.uniform(0, 180)), 0, 360, 45.0, -1)


def _with(frame: Frame, pixels: Pixels) -> Frame:
    """The same moment with other pixels; what they show is not known any more."""
    return Frame(frame.camera, frame.number, pixels, frame.captured, frame.bit_depth, frame.source)


def _altered(frame: Frame, how: Altered) -> Pixels:
    pixels = frame.pixels
    match how:
        case "dark":
            return _like(frame, pixels >> (frame.bit_depth - 1))
        case "blown":
            return _like(frame, np.full(pixels.shape, 2**frame.bit_depth - 1))
        case "garbage":
            return _garbage(frame)
        case "size_change":
            return _like(frame, pixels[:, : pixels.shape[1] // 2])
        case "dim":
            return _like(frame, pixels * (2 / 3))
        case "blur":
            return _like(frame, np.asarray(cv2.GaussianBlur(pixels, (0, 0), 2)))
        case "shift":
            return _like(frame, np.roll(pixels, pixels.shape[1] // 20, axis=1))


def _like(frame: Frame, values: NDArray[Any]) -> Pixels:
    return values.astype(np.uint8) if frame.bit_depth == 8 else values.astype(np.uint16)


def _garbage(frame: Frame) -> Pixels:
    """In turn: no pixels, five channels, one dimension."""
    shapes = ((0, 0), (4, 4, 5), (7,))
    return np.zeros(shapes[frame.number % len(shapes)], np.uint8)
