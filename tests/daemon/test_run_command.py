"""What `linegate run` says before the first part, and places that commands cannot write to."""

import shutil
from pathlib import Path

import pytest

from daemon.cli import main

ROOT = Path(__file__).parents[2]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """A daemon that ends at once; what was logged."""
    monkeypatch.setattr("daemon.supervise.run", lambda *_, **__: None)
    monkeypatch.setattr("daemon.logs.set_up", lambda *_: None)
    caplog.set_level("DEBUG")
    return caplog


def test_the_example_of_a_clone_is_told_to_have_no_cameras_and_the_demo_is_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: pytest.LogCaptureFixture
) -> None:
    shutil.copy(ROOT / "config.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)

    assert main(["run"]) == 0

    assert "config.yaml is the example of a real line: its cameras do not exist" in started.text
    assert "`linegate demo`" in started.text
    assert "`linegate init`" in started.text


def test_a_variable_of_a_network_service_is_named_at_level_debug(
    monkeypatch: pytest.MonkeyPatch, started: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("LINEGATE_PORT", "tcp://10.96.12.7:9580")

    assert main(["run", str(ROOT / "systemd" / "example.yaml")]) == 0

    assert [(record.levelname, record.getMessage().split()[0]) for record in started.records] == [
        ("DEBUG", "LINEGATE_PORT")
    ]


def test_a_schema_that_cannot_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--out", str(tmp_path / "none" / "schema.json")]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_a_bundle_cannot_be_written_to_a_name_that_no_folder_can_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = str(ROOT / "models" / "bsdata")
    assert main(["export", bundle, str(tmp_path), "--out", str(tmp_path / ("x" * 300))]) == 1
    assert "File name too long" in capsys.readouterr().err
