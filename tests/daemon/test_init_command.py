"""`linegate init` writes what `linegate check` finds good, and never over what is there."""

import json
import shutil
from pathlib import Path

import pytest

from daemon.cli import EX_CONFIG, main
from daemon.config import load

BUNDLE = Path(__file__).parents[2] / "models" / "bsdata"
PICTURES = BUNDLE / "demo" / "manifest.csv"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "press.yaml"


@pytest.mark.parametrize("mode", ["triggered", "free_running"])
@pytest.mark.parametrize(
    ("kind", "source"),
    [
        ("simulated", ""),
        ("folder", str(PICTURES)),
        ("opencv", "0"),
        ("opencv", "rtsp://10.0.0.9:554/stream 1"),
        ("opencv", "belt 7.mp4"),
        ("genicam", "/opt/vendor/lib/producer.cti"),
    ],
)
def test_what_it_writes_is_found_good(
    kind: str, source: str, mode: str, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--kind", kind, "--mode", mode, *(["--source", source] if source else [])]

    assert main(["init", str(out), "--bundle", str(BUNDLE), *words]) == 0
    assert main(["check", str(out), "--json"]) == 0

    assert json.loads(capsys.readouterr().out.splitlines()[-1])["stations"] == ["press"]
    station = load(out, {}).stations["press"]
    assert (station.mode, station.cameras["top"].kind) == (mode, kind)
    assert not list(out.parent.glob(".*"))


def test_names_that_yaml_takes_for_numbers_come_back_as_they_were(out: Path) -> None:
    words = ["--site", "07", "--line", "12", "--station", "010", "--broker", "10", "--broker-port", "1884"]

    assert main(["init", str(out), "--bundle", str(BUNDLE), *words]) == 0

    config = load(out, {})
    assert (config.site, config.line, list(config.stations), config.mqtt.host) == ("07", "12", ["010"], "10")
    assert config.mqtt.port == 1884


def test_what_lies_beside_it_is_named_from_there(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(BUNDLE, out.parent / "m", ignore=shutil.ignore_patterns("demo"))
    monkeypatch.chdir(out.parent)

    assert main(["init", "press.yaml", "--bundle", "m"]) == 0

    assert "bundle: m\n" in out.read_text()
    assert load(out, {}).model.bundle == out.parent / "m"


def test_what_is_there_stays_without_force(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out.write_text("mine\n")
    words = ["init", str(out), "--bundle", str(BUNDLE)]

    assert main(words) == 1
    assert "--force replaces it" in capsys.readouterr().err
    assert out.read_text() == "mine\n"
    assert main([*words, "--force"]) == 0
    assert load(out, {}).site == "plant1"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--bundle", "nowhere"], "model.bundle: "),
        (["--bundle", str(BUNDLE), "--station", "a/b"], "stations.a/b: "),
        (["--bundle", str(BUNDLE), "--kind", "folder", "--source", "nowhere"], "stations.press.cameras.top.path: "),
        (["--bundle", str(BUNDLE), "--state-dir", "/dev/null/x"], "state_dir: "),
    ],
)
def test_nothing_is_written_that_would_not_be_found_good(
    words: list[str], told: str, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", str(out), *words]) == EX_CONFIG
    assert told in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("words", [[], ["--bundle", "m", "--kind", "folder"], ["--bundle", "m", "--source", "0"]])
def test_what_is_missing_is_wrong_usage_where_nobody_can_be_asked(words: list[str], out: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["init", str(out), *words])
    assert ended.value.code == 2
    assert not out.exists()


def test_on_a_terminal_it_asks(out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    answers = iter(["folder", str(PICTURES), "oven", "", str(BUNDLE)])

    class Terminal:
        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            return f"{next(answers)}\n"

    monkeypatch.setattr("sys.stdin", Terminal())

    assert main(["init", str(out), "--json"]) == 0

    told = capsys.readouterr()
    assert json.loads(told.out)["config"] == str(out)
    assert "host of the MQTT broker [127.0.0.1]: " in told.err
    config = load(out, {})
    assert (list(config.stations), config.mqtt.host) == (["oven"], "127.0.0.1")


def test_a_configuration_of_the_installed_unit_keeps_its_state_where_that_may_write(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.commands.init.SYSTEM", out.parent)
    monkeypatch.setattr("daemon.commands.init.STATES", out.parent / "states")

    assert main(["init", str(out), "--bundle", str(BUNDLE)]) == 0

    assert load(out, {}).state_dir == out.parent / "states" / "press"
