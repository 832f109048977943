"""`linegate check` finds what would stop a station, or a camera of it, before the line does."""

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
import yaml

from daemon.cli import EX_CONFIG, main

BUNDLE = Path(__file__).parents[2] / "models" / "bsdata"


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    station = {"mode": "triggered", "cameras": {"top": {"kind": "simulated"}}}
    place = {"site": "s", "line": "l", "state_dir": "state"}
    return {**place, "model": {"bundle": str(BUNDLE)}, "stations": {"press": station}}


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names put into it are packages that this environment seems to lack."""
    lacking: set[str] = set()
    found = importlib.util.find_spec

    def find(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name in lacking else found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    monkeypatch.setattr("daemon.checks.find_spec", find)
    return lacking


def check(folder: Path, settings: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    code = main(["check", str(path)])
    told = capsys.readouterr()
    return code, told.out + told.err


def test_a_backend_that_is_not_installed_is_wrong(
    tmp_path: Path, settings: dict[str, Any], without: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    without.add("torch")
    settings["model"]["backend"] = "torch-cuda"
    code, told = check(tmp_path, settings, capsys)
    assert (code, "model.backend: torch-cuda needs torch" in told) == (EX_CONFIG, True)
    settings["model"]["backend"] = "auto"
    assert check(tmp_path, settings, capsys)[0] == 0


def test_what_costs_only_a_camera_is_told_and_is_not_wrong(
    tmp_path: Path, settings: dict[str, Any], without: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    without.add("harvesters")
    settings["stations"]["press"]["cameras"] = {
        "left": {"kind": "genicam", "cti": ["nowhere.cti"]},
        "right": {"kind": "opencv", "source": "rtsp://camera/1", "password_file": "secret"},
        "below": {"kind": "opencv", "source": "takes/belt.mp4"},
    }
    code, told = check(tmp_path, settings, capsys)
    assert code == 0
    for thing in (
        f"press.cameras.left.cti: there is no {tmp_path}/nowhere.cti",
        "press.cameras.left.kind: genicam needs harvesters",
        f"press.cameras.right.password_file: there is no {tmp_path}/secret",
        f"press.cameras.below.source: there is no file {tmp_path}/takes/belt.mp4",
    ):
        assert f"down: stations.{thing}" in told


@pytest.mark.parametrize("section", ["mqtt", "model", "stations"])
def test_what_costs_the_station_is_wrong(
    section: str, tmp_path: Path, settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    missing: dict[str, tuple[dict[str, Any], str]] = {
        "mqtt": ({"username": "u", "password_file": "secret"}, "mqtt.password_file"),
        "model": ({"bundle": "nowhere"}, "model.bundle"),
        "stations": (
            {"press": {"mode": "triggered", "cameras": {"top": {"kind": "folder", "path": "nowhere"}}}},
            "stations.press.cameras.top.path",
        ),
    }
    settings[section], key = missing[section]
    code, told = check(tmp_path, settings, capsys)
    assert (code, key in told) == (EX_CONFIG, True)
