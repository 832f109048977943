"""What every camera kind keeps, whatever it is. One parameter for each; V4L2 needs a device and is not run here."""

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest

from camera.camera import Camera
from camera.folder import FolderConfig
from camera.genicam import GenicamConfig
from camera.health import HealthConfig
from camera.kinds import CameraConfig, open_camera
from camera.opencv import OpencvConfig
from camera.simulated import Misbehaviour, SimulatedConfig
from inspection import clock
from inspection.errors import CameraError, NoImage
from inspection.frame import Frame, Missed
from inspection.verdict import Reason
from tests.camera.conftest import StartCamera
from tests.camera.peers import VIKY, RtspServer, write_folder, write_video
from tests.programs import RTSP_SERVER, installed


@dataclass(frozen=True)
class Kind:
    """One kind of camera, and what is known of its pictures. `wrong` opens nothing, and its error says `remedy`."""

    config: CameraConfig
    shape: tuple[int, ...]
    dtype: type[np.uint8 | np.uint16] = np.uint8
    bit_depth: int = 8
    wrong: CameraConfig | None = None
    remedy: str = ""


@pytest.fixture(scope="module", autouse=True)
def rtsp() -> Iterator[RtspServer | None]:
    with ExitStack() as stack:
        yield stack.enter_context(RtspServer()) if installed(RTSP_SERVER) else None


def simulated(_: Path, __: pytest.FixtureRequest) -> Kind:
    return Kind(SimulatedConfig(kind="simulated", width=64, height=48), (48, 64))


def simulated_stream(_: Path, __: pytest.FixtureRequest) -> Kind:
    config = SimulatedConfig(kind="simulated", width=64, height=48, mode="stream", rate_hz=100, color=True)
    return Kind(config, (48, 64, 3))


def simulated_12_bit(_: Path, __: pytest.FixtureRequest) -> Kind:
    config = SimulatedConfig(
        kind="simulated", width=64, height=48, bit_depth=12, script=(Misbehaviour(at=2, do="skip"),)
    )
    return Kind(config, (48, 64), np.uint16, 12)


def folder(at: Path, _: pytest.FixtureRequest) -> Kind:
    pictures = write_folder(at / "pictures", 3)
    (pictures / "02.png").write_bytes(b"no picture")
    wrong = FolderConfig(kind="folder", path=at / "nowhere")
    return Kind(FolderConfig(kind="folder", path=pictures), (48, 64), wrong=wrong, remedy="No such file")


def video_file(at: Path, _: pytest.FixtureRequest) -> Kind:
    source = str(write_video(at / "line.avi", 3))
    wrong = OpencvConfig(kind="opencv", source=str(at / "nowhere.avi"))
    config = OpencvConfig(kind="opencv", source=source)
    return Kind(config, (48, 64, 3), wrong=wrong, remedy="there is no file")


def rtsp_stream(_: Path, request: pytest.FixtureRequest) -> Kind:
    server: RtspServer = request.getfixturevalue("rtsp") or RtspServer()
    wrong = OpencvConfig(kind="opencv", source=f"rtsp://127.0.0.1:{server.port}/nowhere")
    config = OpencvConfig(kind="opencv", source=server.url)
    return Kind(config, (240, 320, 3), wrong=wrong, remedy="has no stream of this path")


def genicam(_: Path, __: pytest.FixtureRequest) -> Kind:
    health = HealthConfig(blown_share=1)
    config = GenicamConfig(kind="genicam", cti=(VIKY,), trigger="off", serial="1", health=health, latency_ms=60)
    wrong = config.model_copy(update={"serial": "7"})
    return Kind(config, (400, 400), wrong=wrong, remedy="serials found: ['0', '1', '2']")


KINDS = (simulated, simulated_stream, simulated_12_bit, folder, video_file, rtsp_stream, genicam)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Kind:
    make: Callable[[Path, pytest.FixtureRequest], Kind] = request.param
    return make(tmp_path, request)


def opened(kind: Kind) -> "closing[Camera]":
    return closing(open_camera("top", kind.config))


def test_numbers_ascend_and_pictures_are_of_the_stated_kind(kind: Kind) -> None:
    with opened(kind) as camera:
        captures = list(islice(camera.captures(), 6))
        now = clock.monotonic()
    assert [capture.number for capture in captures] == [1, 2, 3, 4, 5, 6]
    assert all(earlier.captured <= later.captured for earlier, later in pairwise(captures))
    assert captures[-1].captured <= now
    assert {capture.camera for capture in captures} == {"top"}
    frames = [capture for capture in captures if isinstance(capture, Frame)]
    assert len(frames) >= 3
    for frame in frames:
        assert frame.pixels.shape == kind.shape
        assert frame.pixels.dtype == kind.dtype
        assert frame.bit_depth == kind.bit_depth
        assert int(frame.pixels.max()) < 2**frame.bit_depth
        with pytest.raises(ValueError, match="read-only"):
            frame.pixels[0] = 0
    assert all(isinstance(capture, Frame | Missed) for capture in captures)


def test_a_picture_stays_what_it_was_while_later_ones_come(kind: Kind) -> None:
    with opened(kind) as camera:
        captures = camera.captures()
        first = next(captures)
        assert isinstance(first, Frame)
        before = first.pixels.copy()
        for _ in islice(captures, 12):
            pass
        assert np.array_equal(first.pixels, before)


def test_a_camera_that_does_not_stream_exposes_when_asked(kind: Kind) -> None:
    with opened(kind) as camera:
        captures = camera.captures()
        for _ in range(3):
            asked = clock.monotonic()
            exposed_after = next(captures).captured >= asked
            assert exposed_after or camera.streaming


def test_a_closed_camera_can_be_opened_again_whether_or_not_it_gave_pictures(kind: Kind) -> None:
    for taken in (0, 2):
        with opened(kind) as camera:
            assert len(list(islice(camera.captures(), taken))) == taken
    with opened(kind) as camera:
        assert next(camera.captures()).number == 1


def held() -> tuple[int, int, int]:
    """Open files, the kernel's threads, Python's threads of this process."""
    gc.collect()
    own = Path("/proc/self")
    return len(list((own / "fd").iterdir())), len(list((own / "task").iterdir())), threading.active_count()


def test_a_closed_camera_holds_nothing(kind: Kind) -> None:
    def use() -> None:
        with opened(kind) as camera:
            list(islice(camera.captures(), 2))

    use()
    before = held()
    for _ in range(2):
        use()
    assert held() <= before


def test_a_wrong_address_is_a_camera_error_that_says_what_to_look_at(kind: Kind) -> None:
    if kind.wrong is None:
        assert kind.config.kind == "simulated"  # it has no address
        return
    with pytest.raises(CameraError, match="camera_lost") as raised:
        open_camera("top", kind.wrong)
    assert raised.value.reason is Reason.CAMERA_LOST
    assert kind.remedy in raised.value.detail


async def test_a_shot_through_the_child_was_exposed_after_it_was_asked_for(
    kind: Kind, start_camera: StartCamera
) -> None:
    async with start_camera(kind.config) as rig:
        await rig.until_up()
        asked = clock.monotonic()
        crops = await rig.process.shoot(asked + 60)
        picture = rig.process.picture()
    assert asked <= crops.captured <= crops.ready
    assert picture is not None
    assert picture.number == crops.number
    assert picture.pixels.shape == kind.shape
    assert picture.pixels.dtype == kind.dtype
    assert not picture.pixels.flags.writeable


async def test_a_free_running_camera_gives_its_pictures_in_order(kind: Kind, start_camera: StartCamera) -> None:
    async with start_camera(kind.config, triggered=False) as rig:
        captures = [await rig.next() for _ in range(3)]
        assert rig.probe.restarts == []
    numbers = [capture.number for capture in captures]
    assert numbers == sorted(set(numbers))
    assert rig.probe.ups == [True, False]


async def test_a_camera_whose_address_is_wrong_answers_camera_lost_with_the_remedy(
    kind: Kind, start_camera: StartCamera
) -> None:
    if kind.wrong is None:
        assert kind.config.kind == "simulated"
        return
    async with start_camera(kind.wrong) as rig:
        await rig.until(lambda: len(rig.probe.restarts) == 1)
        with pytest.raises(NoImage) as lost:
            await rig.process.shoot(clock.monotonic() + 10)
    assert lost.value.missed.reason is Reason.CAMERA_LOST
    assert kind.remedy in lost.value.missed.detail
    assert rig.probe.ups == []
