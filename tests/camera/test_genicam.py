"""GenICam beyond the contract suite: against viky's cameras where they can, and where they cannot, a stand-in.

viky knows no trigger, exposure or gain and loses no picture, and no producer that pip or Debian has does. So the
order of triggering, the gaps and the faults are tested with a stand-in for the acquirer of harvesters.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from genicam import gentl

from camera.genicam import GenicamCamera, GenicamConfig, find_devices
from camera.health import HealthConfig
from inspection import clock
from inspection.errors import CameraError
from inspection.frame import Frame, Missed
from inspection.verdict import Reason
from tests.camera.conftest import StartCamera
from tests.camera.peers import VIKY


def settings(**more: object) -> GenicamConfig:
    return GenicamConfig.model_validate({"kind": "genicam", "cti": [VIKY], "trigger": "off", "serial": "1", **more})


def test_a_size_is_set_in_the_camera() -> None:
    with closing(GenicamCamera("top", settings(width=200, height=104))) as camera:
        frame = next(camera.captures())
    assert isinstance(frame, Frame)
    assert frame.pixels.shape == (104, 200)


async def test_two_cameras_of_one_producer_can_be_open_at_once(start_camera: StartCamera) -> None:
    """Each in a process of its own, as always: a producer may be opened once in a process."""
    left, right = (settings(serial=serial, health=HealthConfig(blown_share=1)) for serial in ("1", "2"))
    async with start_camera(left) as one, start_camera(right) as other:
        for rig in (one, other):
            await rig.until_up()
            await rig.process.shoot(clock.monotonic() + 60)


def test_the_serials_of_a_producer_are_found() -> None:
    assert [device["serial"] for device in find_devices((VIKY,))] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"cti": ["/nowhere/a.cti"]}, "there is no GenTL producer /nowhere/a.cti"),
        ({"cti": [__file__]}, "the GenTL producer cannot be used"),
        ({"serial": "7"}, r"no camera with serial 7 .*serials found: \['0', '1', '2'\]"),
        ({"serial": None, "index": 3}, r"no camera with index 3 .*serials found: \['0', '1', '2'\]"),
        ({"trigger": "software"}, "the camera has no TriggerMode; set trigger: off"),
        ({"pixel_format": "Mono12"}, "refuses PixelFormat = Mono12: it takes RGBa8, Mono8"),
        ({"width": 4000}, "refuses Width = 4000: Value = 4000 must be equal or smaller than Max = 800"),
        ({"exposure_us": 100}, "the camera has no ExposureTime"),
        ({"gain": 1}, "the camera has no Gain"),
    ],
)
def test_what_cannot_be_opened_or_set_is_told_with_the_way_out(more: dict[str, object], expected: str) -> None:
    with pytest.raises(CameraError, match=expected) as raised:
        GenicamCamera("top", settings(**more))
    assert raised.value.reason is Reason.CAMERA_LOST
    with closing(GenicamCamera("top", settings())) as camera:  # nothing of the failed one is left
        assert next(camera.captures()).number == 1


def written(**more: object) -> list[tuple[str, str | float]]:
    return [(names[0], value) for names, value in settings(**more).features()]


def test_a_hardware_trigger_is_set_up_before_its_source() -> None:
    assert written(trigger="hardware", trigger_source="Line3", trigger_activation="FallingEdge") == [
        ("PixelFormat", "Mono8"),
        ("TriggerSelector", "FrameStart"),
        ("TriggerMode", "On"),
        ("TriggerSource", "Line3"),
        ("TriggerActivation", "FallingEdge"),
    ]


def test_exposure_and_gain_turn_their_automatic_off_first() -> None:
    assert written(exposure_us=400, gain=2)[1:5] == [
        ("ExposureAuto", "Off"),
        ("ExposureTime", 400),
        ("GainAuto", "Off"),
        ("Gain", 2),
    ]
    assert ("ExposureAuto", "Off") not in written()


@dataclass
class Peer:
    """A stand-in for a camera of harvesters: `sends` are frame ids in turn; None is nothing within the time-out."""

    sends: list[int | Exception | None]
    events: list[str] = field(default_factory=list)
    written: dict[str, object] = field(default_factory=dict)
    incomplete: Any = None
    dead: bool = False
    num_buffers: int = 0
    min_num_buffers: int = 4
    data_streams: tuple[()] = ()
    Events: Any = field(default_factory=lambda: SimpleNamespace(INCOMPLETE_BUFFER="incomplete"))

    @property
    def remote_device(self) -> Any:
        return SimpleNamespace(node_map=_Nodes(self))

    def add_callback(self, event: str, callback: Any) -> None:
        self.incomplete = callback

    def start(self) -> None:
        self.events.append("start")

    def destroy(self) -> None:
        self.events.append("destroy")
        if self.dead:
            raise gentl.IoException("gone")

    def reset(self) -> None:
        self.events.append("reset")

    def try_fetch(self, *, timeout: float) -> Any:
        sent = self.sends.pop(0)
        if isinstance(sent, Exception):
            raise sent
        if sent is None:
            return None
        if sent < 0:
            self.incomplete.emit()
            return None
        part = SimpleNamespace(data=np.full(64, 90, np.uint8), width=8, height=8, data_format="Mono8")
        self.events.append(f"fetch {sent}")
        return SimpleNamespace(
            module=SimpleNamespace(frame_id=sent),
            payload=SimpleNamespace(components=[part]),
            queue=lambda: self.events.append("queue"),
        )


class _Nodes:
    def __init__(self, peer: Peer) -> None:
        self.__dict__["peer"] = peer

    def has_node(self, name: str) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        peer: Peer = self.__dict__["peer"]

        class Node:
            def execute(self) -> None:
                peer.events.append(name)

            def __setattr__(self, _: str, value: object) -> None:
                peer.written[name] = value

        return Node()


Connect = Callable[..., GenicamCamera]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    cameras: list[GenicamCamera] = []

    def to(peer: Peer, **more: object) -> GenicamCamera:
        monkeypatch.setattr("camera.genicam._connect", lambda _: (peer, peer))
        cameras.append(GenicamCamera("top", settings(**more)))
        return cameras[-1]

    yield to
    for camera in cameras:
        camera.close()


def test_a_software_trigger_is_fired_when_a_picture_is_asked_for_and_only_then(connect: Connect) -> None:
    peer = Peer([1, 2])
    camera = connect(peer, trigger="software")
    captures = camera.captures()
    assert not camera.streaming
    assert peer.events == ["start"]
    asked = clock.monotonic()
    first = next(captures)
    assert peer.events == ["start", "TriggerSoftware", "fetch 1", "queue"]
    assert asked <= first.captured <= clock.monotonic()
    next(captures)
    assert peer.events[4:] == ["TriggerSoftware", "fetch 2", "queue"]


def test_pictures_that_the_stream_lost_are_told_in_their_place(connect: Connect) -> None:
    camera = connect(Peer([65533, 65535, 1, 4]), trigger="hardware")
    captures = camera.captures()
    taken = [next(captures) for _ in range(7)]
    assert [capture.number for capture in taken] == [1, 2, 3, 4, 5, 6, 7]
    lost = [capture.reason if isinstance(capture, Missed) else None for capture in taken]
    gone = Reason.MISSED_TRIGGER
    assert lost == [None, gone, None, None, gone, gone, None]


def test_a_picture_that_arrived_incomplete_is_a_decode_error_once(connect: Connect) -> None:
    captures = connect(Peer([7, -1, 9]), trigger="hardware").captures()
    taken = [next(captures) for _ in range(3)]
    reasons = [capture.reason if isinstance(capture, Missed) else None for capture in taken]
    assert reasons == [None, Reason.DECODE_ERROR, None]


def test_a_camera_that_owes_a_picture_is_stalled_but_a_quiet_trigger_line_is_not(connect: Connect) -> None:
    owing = connect(Peer([None] * 100_000), trigger="software", stall_timeout_s=0.05).captures()
    with pytest.raises(CameraError, match=r"camera_stalled: no picture for 0\.05 s"):
        next(owing)
    quiet = connect(Peer([*[None] * 1000, 1]), trigger="hardware", stall_timeout_s=0.000001).captures()
    assert next(quiet).number == 1


def test_a_stream_that_breaks_is_a_lost_camera_and_closing_it_hides_nothing(connect: Connect) -> None:
    peer = Peer([gentl.IoException("unplugged")], dead=True)
    camera = connect(peer, trigger="hardware")
    with pytest.raises(CameraError, match=r"camera_lost: the stream broke: .*unplugged"):
        next(camera.captures())
    camera.close()
    assert peer.events[-2:] == ["destroy", "reset"]


def test_a_producer_gets_at_least_the_buffers_that_it_needs(connect: Connect) -> None:
    few, many = Peer([]), Peer([])
    connect(few, buffers=2)
    connect(many, buffers=32)
    assert (few.num_buffers, many.num_buffers) == (4, 32)


def test_a_missing_producer_package_is_told_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "harvesters.core", None)
    with pytest.raises(CameraError, match=r"harvesters is not installed: .*\[genicam\]"):
        find_devices((Path(VIKY),))
