"""`linegate check` finds what would stop a station, or a camera of it, before the line does."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
import yaml

from daemon.cli import EX_CONFIG, main
from daemon.lock import held
from tests.vision.signer import Signer

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
    monkeypatch.setattr("daemon.lacking.find_spec", find)
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
    (tmp_path / "notes.csv").write_text("picture\n1.png\n")
    settings["stations"]["press"]["cameras"] = {
        "left": {"kind": "genicam", "cti": ["nowhere.cti"]},
        "right": {"kind": "opencv", "source": "rtsp://camera/1", "password_file": "secret"},
        "below": {"kind": "opencv", "source": "takes/belt.mp4"},
        "above": {"kind": "folder", "path": "notes.csv"},
    }
    code, told = check(tmp_path, settings, capsys)
    assert code == 0
    for thing in (
        f"press.cameras.left.cti: there is no {tmp_path}/nowhere.cti",
        "press.cameras.left.kind: genicam needs harvesters",
        f"press.cameras.right.password_file: there is no {tmp_path}/secret",
        f"press.cameras.above.path: {tmp_path}/notes.csv:1: no column 'path' in the header",
        f"press.cameras.below.source: there is no file {tmp_path}/takes/belt.mp4",
    ):
        assert f"not on this machine: stations.{thing}" in told
    assert told.count("so that camera will be down") == 5


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


@pytest.mark.parametrize(("folder", "said"), [("state/archive", False), ("notes.txt/archive", True)])
def test_an_archive_that_cannot_be_written_is_told_and_does_not_keep_the_line_from_starting(
    tmp_path: Path, settings: dict[str, Any], capsys: pytest.CaptureFixture[str], folder: str, *, said: bool
) -> None:
    (tmp_path / "notes.txt").touch()
    settings["records"] = {"archive": {"folder": folder}}

    code, told = check(tmp_path, settings, capsys)

    assert code == 0
    told_of = f"records.archive.folder: {tmp_path / 'notes.txt'} is no folder that this user can write to"
    assert (told_of in told) == said
    assert not (tmp_path / "state" / "archive").exists(), "a check writes nothing"


def test_a_device_that_is_not_there_is_told_with_its_camera(
    tmp_path: Path, settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "video").touch()
    settings["stations"]["press"]["cameras"] = {
        "left": {"kind": "opencv", "source": 97},
        "right": {"kind": "opencv", "source": "/dev/video98"},
        "below": {"kind": "opencv", "source": "/dev/null"},
    }
    code, told = check(tmp_path, settings, capsys)

    assert code == 0
    assert "press.cameras.left.source: there is no device /dev/video97" in told
    assert "press.cameras.right.source: there is no device /dev/video98" in told
    assert "press.cameras.below" not in told


@pytest.mark.parametrize(
    "source",
    [
        "rtsp://admin:hunter2@10.0.0.9:554/stream",
        "rtsp://10.0.0.9/user=admin&password=hunter2&channel=1",
        "rtsp://10.0.0.9/live?pwd=hunter2",
        "rtspsrc location=rtsp://admin:hunter2@10.0.0.9/1 ! decodebin ! videoconvert ! appsink",
        "rtspsrc location=rtsp://10.0.0.9/1 user-id=admin user-pw=hunter2 ! decodebin ! appsink",
    ],
)
def test_a_password_in_the_source_is_warned_of_and_not_repeated(
    tmp_path: Path, settings: dict[str, Any], capsys: pytest.CaptureFixture[str], source: str
) -> None:
    settings["stations"]["press"]["cameras"] = {"top": {"kind": "opencv", "source": source}}
    code, told = check(tmp_path, settings, capsys)

    assert code == 0
    assert "warning: stations.press.cameras.top.source: holds a password" in told
    assert "hunter2" not in told


@pytest.mark.parametrize("source", ["rtsp://10.0.0.9:554/stream", "rtsp://10.0.0.9/a@b", "0"])
def test_a_source_without_a_password_is_not_warned_of(
    tmp_path: Path, settings: dict[str, Any], capsys: pytest.CaptureFixture[str], source: str
) -> None:
    settings["stations"]["press"]["cameras"] = {"top": {"kind": "opencv", "source": source}}

    assert "password" not in check(tmp_path, settings, capsys)[1]


def test_a_state_directory_that_the_daemon_would_refuse_is_wrong(
    tmp_path: Path, settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "state").touch()

    code, told = check(tmp_path, settings, capsys)

    assert (code, f"state_dir: {tmp_path}/state cannot be used" in told) == (EX_CONFIG, True)


def test_a_state_directory_in_use_is_told_and_is_not_wrong(
    tmp_path: Path, settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with held(tmp_path / "state"):
        code, told = check(tmp_path, settings, capsys)

    assert code == 0
    assert f"warning: state_dir: {tmp_path}/state is in use by another linegate" in told


@pytest.mark.parametrize("kind", ["folder", "pipe", "not text", "too large"])
def test_a_password_file_that_holds_no_password_is_wrong(
    kind: str, tmp_path: Path, settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "secret"
    match kind:
        case "folder":
            secret.mkdir()
        case "pipe":
            os.mkfifo(secret)
        case "not text":
            secret.write_bytes(b"\xff")
        case _:
            secret.write_bytes(b"x" * 100_000)
    settings["mqtt"] = {"username": "u", "password_file": "secret"}

    code, told = check(tmp_path, settings, capsys)

    assert (code, f"mqtt.password_file: {secret}" in told) == (EX_CONFIG, True)


def test_certificates_that_are_none_are_wrong(
    tmp_path: Path, settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    settings["mqtt"] = {"tls": {"ca": "ca.pem"}}

    code, told = check(tmp_path, settings, capsys)

    assert (code, "mqtt.tls" in told) == (EX_CONFIG, True)


@pytest.mark.parametrize(
    ("change", "key"),
    [({"site": 7}, "site"), ({"model": {"bundle": "nowhere"}}, "model.bundle"), ({"state_dir": "secret"}, "state_dir")],
)
def test_errors_are_one_json_object_where_that_is_asked_for(
    change: dict[str, Any], key: str, tmp_path: Path, settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "secret").touch()
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(settings | change))

    assert main(["check", str(path), "--json"]) == EX_CONFIG

    told = capsys.readouterr()
    said = json.loads(told.out)
    assert (said["exit_code"], [error["key"] for error in said["errors"]]) == (EX_CONFIG, [key])
    assert f"{key}: {said['errors'][0]['message']}" in told.err


def test_an_error_of_any_command_is_json_where_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["promote", str(tmp_path), "--config", str(tmp_path / "none.yaml"), "--json"]) == EX_CONFIG
    said = json.loads(capsys.readouterr().out)
    assert said["errors"][0]["where"] == f"{tmp_path}/none.yaml"
    assert main(["explain", str(tmp_path / "m"), str(tmp_path / "x.png"), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["exit_code"] == 1


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(tmp_path / "signer").make()


@pytest.mark.parametrize("as_line", [True, False], ids=["line", "file"])
def test_a_bundle_signed_with_the_configured_key_is_good_and_any_other_is_wrong(
    tmp_path: Path, settings: dict[str, Any], signer: Signer, capsys: pytest.CaptureFixture[str], *, as_line: bool
) -> None:
    bundle = Path(shutil.copytree(BUNDLE, tmp_path / "bundle", ignore=shutil.ignore_patterns("demo")))
    line = signer.public.read_text().splitlines()[1]
    settings["model"] = {"bundle": "bundle", "public_key": line if as_line else "signer/key.pub"}

    code, told = check(tmp_path, settings, capsys)
    assert code == EX_CONFIG
    assert "model.bundle: " in told
    assert "bundle.json.minisig: not there, and model.public_key takes signed bundles only" in told

    signer.sign(bundle / "bundle.json", "-t", "approved for press 7")
    code, told = check(tmp_path, settings, capsys)
    assert code == 0
    assert "the model's signature is good: approved for press 7" in told

    manifest = bundle / "bundle.json"
    manifest.write_bytes(manifest.read_bytes() + b"\n")
    code, told = check(tmp_path, settings, capsys)
    assert code == EX_CONFIG
    assert "bundle.json was changed after it was signed" in told


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("nowhere.pub", "model.public_key: {}/nowhere.pub: the public key cannot be read"),
        ("config.yaml", "model.public_key: {}/config.yaml: no minisign public key"),
        (7, "model.public_key: must be the line of a minisign public key, or the name of its file"),
        ("", "model.public_key: must be the line of a minisign public key, or the name of its file"),
    ],
)
def test_a_public_key_that_is_none_is_wrong(
    tmp_path: Path, settings: dict[str, Any], capsys: pytest.CaptureFixture[str], key: object, said: str
) -> None:
    settings["model"]["public_key"] = key

    code, told = check(tmp_path, settings, capsys)

    assert code == EX_CONFIG
    assert said.format(tmp_path) in told


@pytest.mark.parametrize("command", ["check", "run"])
def test_what_a_setting_names_and_is_not_there_is_told_with_the_line_of_the_setting(
    tmp_path: Path, settings: dict[str, Any], command: str
) -> None:
    settings["model"]["bundle"] = "frist"
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    line = path.read_text().splitlines().index("  bundle: frist") + 1

    def told(**variables: str) -> str:
        words = [sys.executable, "-m", "daemon.cli", command, str(path)]
        ended = subprocess.run(words, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
        assert ended.returncode == EX_CONFIG
        return ended.stderr

    assert f"{path}:{line}: model.bundle: {tmp_path}/frist: there is no such folder" in told()
    by_variable = told(LINEGATE_MODEL__BUNDLE="thrid")
    assert f"environment LINEGATE_MODEL__BUNDLE: model.bundle: {tmp_path}/thrid" in by_variable
