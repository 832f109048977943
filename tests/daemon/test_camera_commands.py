"""`linegate cameras` and `linegate snapshot`, as an engineer with a new camera runs them."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from camera.find import find_genicam, find_v4l2
from daemon.cli import EX_CONFIG, main
from inspection.errors import CameraError
from tests.camera.peers import VIKY, RtspServer

CONFIG = """\
site: plant
line: line1
state_dir: state
model: {bundle: model}
stations:
  press:
    mode: triggered
    cameras:
      top: {kind: simulated, bit_depth: 12, width: 64, height: 48}
      side: {kind: simulated, script: [{at: 1, do: dark}]}
  saw:
    mode: triggered
    cameras:
      side: {kind: simulated}
      wired: {kind: simulated, mode: hardware_trigger, rate_hz: 0.01, script: [{at: 1, do: stall}]}
      gone: {kind: simulated, script: [{at: 1, do: disconnect}]}
      killed: {kind: simulated, script: [{at: 1, do: die}]}
      mess: {kind: simulated, script: [{at: 1, do: garbage, for_frames: 9}]}
      sticks: {kind: simulated, rate_hz: 50, script: [{at: 2, do: freeze}]}
      short: {kind: simulated, rate_hz: 50, frames: 3}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(autouse=True)
def _no_producers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GENICAM_GENTL64_PATH", raising=False)


def snapshot(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, dict[str, Any], str]:
    """Exit code, what it told as JSON, and its error line."""
    code = main(["snapshot", *map(str, arguments), "--json"])
    said = capsys.readouterr()
    return code, json.loads(said.out) if said.out else {}, said.err


def test_cameras_of_a_named_producer_are_listed_with_their_serials(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cameras", "--producer", str(VIKY), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    cameras = [camera for camera in told["cameras"] if camera["kind"] == "genicam"]
    assert [camera["source"] for camera in cameras] == ["0", "1", "2"]
    assert {camera["producer"] for camera in cameras} == {str(VIKY)}


def test_producers_are_found_where_vendors_installers_put_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GENICAM_GENTL64_PATH", f"{tmp_path}:{VIKY.parent}")
    assert main(["cameras"]) == 0
    told = capsys.readouterr().out
    assert "Viky" in told
    assert str(VIKY) in told


def test_with_no_camera_cameras_tells_where_it_looked_and_what_to_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("camera.find.find_v4l2", lambda: ())
    monkeypatch.setenv("GENICAM_GENTL64_PATH", str(tmp_path))
    assert main(["cameras"]) == 0
    told = capsys.readouterr().out
    assert "/dev/video*" in told
    assert str(tmp_path) in told
    assert "--producer FILE" in told
    assert "rtsp://" in told


def test_a_producer_that_is_none_is_told_and_the_others_are_still_listed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.cti"
    broken.write_bytes(b"no library")
    assert main(["cameras", "--producer", str(broken), "--producer", str(VIKY)]) == 1
    told = capsys.readouterr().out
    assert f"problem  {broken}: " in told
    assert "Viky" in told


def test_a_producer_that_does_not_answer_is_killed() -> None:
    with pytest.raises(CameraError, match="lists nothing within"):
        find_genicam(VIKY, timeout_s=0.001)


def test_a_video_device_that_is_none_is_listed_with_its_problem(tmp_path: Path) -> None:
    (tmp_path / "video0").write_bytes(b"")
    (found,) = find_v4l2(tmp_path)
    assert found.source == str(tmp_path / "video0")
    assert found.problem.startswith("no V4L2 device")


def test_a_snapshot_of_a_12_bit_camera_is_a_16_bit_png_of_its_values(
    config: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, told, _ = snapshot(capsys, "top", tmp_path / "out.png", "--config", config)
    written = cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED)
    assert code == 0
    assert (told["width"], told["height"], told["dtype"], told["bit_depth"]) == (64, 48, "uint16", 12)
    assert (told["health"], told["pictures"]) == ("good", 1)
    assert told["first_picture_s"] > 0
    assert written is not None
    assert written.dtype == np.uint16
    assert 255 < written.max() < 2**12


def test_a_snapshot_says_why_a_picture_must_not_be_judged_and_keeps_it(
    config: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, told, _ = snapshot(capsys, "press/side", tmp_path / "out.png", "--config", config)
    assert (code, told["health"]) == (1, "frame_dark")
    assert (tmp_path / "out.png").is_file()


def test_a_snapshot_of_several_pictures_finds_a_frozen_camera(
    config: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, told, _ = snapshot(capsys, "sticks", tmp_path / "out.png", "--config", config, "--pictures", "2")
    assert (code, told["health"], told["pictures"]) == (1, "frame_frozen", 2)


def test_a_snapshot_takes_what_there_is_where_a_source_ends(
    config: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, told, _ = snapshot(capsys, "short", tmp_path / "out.png", "--config", config, "--pictures", "50")
    assert (code, told["pictures"], told["source"]) == (0, 3, "simulated:0/3")


def test_a_snapshot_of_garbage_writes_no_file(config: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, told, _ = snapshot(capsys, "mess", tmp_path / "out.png", "--config", config)
    assert (code, told["health"]) == (1, "decode_error")
    assert not (tmp_path / "out.png").exists()


def failed(message: str) -> tuple[int, dict[str, Any], str]:
    errors = [{"message": message, "where": "", "key": ""}]
    return 1, {"exit_code": 1, "errors": errors}, f"linegate: {message}\n"


@pytest.mark.parametrize(
    ("camera", "expected"),
    [("gone", "camera_lost: disconnected by script"), ("killed", "camera_lost: its process ended: signal 9")],
)
def test_a_snapshot_of_a_camera_that_is_lost_says_why(
    config: Path, camera: str, expected: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert snapshot(capsys, camera, tmp_path / "out.png", "--config", config, "--timeout", "60") == failed(expected)


def test_a_snapshot_of_a_camera_that_no_signal_releases_says_so(
    config: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for seconds in ("2", "8", "30"):  # the camera's process has to be there by then
        told = snapshot(capsys, "wired", tmp_path / "out.png", "--config", config, "--timeout", seconds)
        if told != failed(f"camera_stalled: not open within {seconds} s"):
            break
    assert told == failed(f"camera_stalled: the camera is open, but no signal released it within {seconds} s")


def test_a_snapshot_of_a_genicam_camera_needs_its_producer_and_serial_only(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    _, told, _ = snapshot(capsys, "1", tmp_path / "out.png", "--producer", VIKY)
    assert (told["kind"], told["width"], told["height"]) == ("genicam", 400, 400)


def test_a_snapshot_of_a_network_camera_needs_its_url_only(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with RtspServer() as server:
        code, told, _ = snapshot(capsys, server.url, tmp_path / "out.png")
    assert (code, told["source"], told["width"], told["channels"]) == (0, server.url, 320, 3)


def test_a_snapshot_of_a_folder_needs_no_configuration(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    cv2.imwrite(str(tmp_path / "pictures" / "a.png"), np.full((4, 6, 3), 90, np.uint8))
    code, told, _ = snapshot(capsys, tmp_path / "pictures", tmp_path / "out.png")
    assert (code, told["source"], told["channels"]) == (0, "a.png", 3)


@pytest.mark.parametrize(
    ("camera", "expected"),
    [
        ("side", "side stands for several cameras; there are: press/top, press/side, saw/side"),
        ("low", "low is no camera; there are: press/top"),
    ],
)
def test_a_name_that_the_configuration_does_not_have_once_ends_with_those_it_has(
    config: Path, camera: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, error = snapshot(capsys, camera, "out.png", "--config", config)
    assert code == EX_CONFIG
    assert expected in error


@pytest.mark.parametrize(
    ("camera", "expected"),
    [
        ("nonesuch", "add --config config.yaml"),
        ("a/part.jpg", "is one picture; name its folder"),
        ("rtsp://:0/x", "names no host"),
    ],
)
def test_a_source_that_is_none_ends_with_the_way_out(
    camera: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, error = snapshot(capsys, camera, "out.png")
    assert code == EX_CONFIG
    assert expected in error


def test_a_device_that_is_not_there_ends_with_the_way_out(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, error = snapshot(capsys, "/dev/video63", tmp_path / "out.png")
    assert code == 1
    assert "there is no such device; `linegate cameras` lists those there are" in error


def test_a_snapshot_that_cannot_be_written_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, error = snapshot(capsys, "simulated", tmp_path / "nowhere" / "out.png")
    assert code == 1
    assert "No such file or directory" in error
