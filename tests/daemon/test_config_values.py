"""Values are read by one rule, the core schema of YAML 1.2: what looks like another type is told of its quotes."""

import json
from pathlib import Path

import pytest

from daemon.config import Config, load
from daemon.config.environment import ignored
from inspection.errors import ConfigError

GOOD = """\
site: plant1
line: line1
state_dir: state
model: {bundle: m}
mqtt: {version: "5"}
http: {port: 9580}
stations:
  press:
    mode: triggered
    trigger: {default_deadline_ms: 500}
    cameras:
      top: {kind: simulated}
"""


def read(tmp_path: Path, old: str = "", new: str = "", environ: dict[str, str] | None = None) -> Config:
    assert old in GOOD
    path = tmp_path / "config.yaml"
    path.write_text(GOOD.replace(old, new, 1), encoding="utf-8")
    return load(path, environ or {})


def refused(tmp_path: Path, old: str, new: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, old, new, environ)
    return str(caught.value)


@pytest.mark.parametrize("text", ["12", "07", "0x1F", "1e3", ".5", "true", "False", "010", "0o17"])
def test_a_name_that_is_no_text_to_yaml_is_told_of_its_quotes(text: str, tmp_path: Path) -> None:
    told = refused(tmp_path, "line: line1", f"line: {text}")

    assert f"{tmp_path}/config.yaml:2: line: is {text}, " in told
    assert f'write it in quotes: "{text}"' in told


@pytest.mark.parametrize("text", ["on", "off", "yes", "no", "y", "N", "2026-02-30", "1-2"])
def test_a_word_that_older_yaml_took_for_something_else_is_text(text: str, tmp_path: Path) -> None:
    assert read(tmp_path, "line: line1", f"line: {text}").line == text
    assert list(read(tmp_path, "  press:", f"  {text}:").stations) == [text]


@pytest.mark.parametrize("text", ["010", "12", "1.5", "true", "null", "~"])
def test_a_station_whose_name_is_no_text_to_yaml_is_told_of_its_quotes(text: str, tmp_path: Path) -> None:
    told = refused(tmp_path, "  press:", f"  {text}:")

    assert "config.yaml:8: stations: the key" in told
    assert f'write it in quotes: "{text}"' in told


def test_a_version_without_quotes_is_told_of_them_and_a_depth_with_quotes_too(tmp_path: Path) -> None:
    assert "mqtt.version: is 5; allowed: '5' or '3.1.1'; write it in quotes: \"5\"" in refused(
        tmp_path, 'version: "5"', "version: 5"
    )
    camera = 'kind: folder, path: p, bit_depth: "12"'
    assert "write it without quotes: 12" in refused(tmp_path, "kind: simulated", camera)


@pytest.mark.parametrize(("text", "value"), [("0500", 500), ("+500", 500), ("500.0", 500), ("5e2", 500), ("0x32", 50)])
def test_a_number_is_decimal_unless_it_says_otherwise(text: str, value: int, tmp_path: Path) -> None:
    config = read(tmp_path, "default_deadline_ms: 500", f"default_deadline_ms: {text}")

    assert config.stations["press"].trigger.default_deadline_ms == value


@pytest.mark.parametrize(
    "text", ["21:43", "1:2:3", "true", "yes", "0b101", "five", "9580.5", "[1]", "{a: 1}", "''", "~"]
)
def test_what_is_no_number_is_refused_where_a_number_belongs(text: str, tmp_path: Path) -> None:
    assert "config.yaml:6: http.port" in refused(tmp_path, "port: 9580", f"port: {text}")


def test_true_is_no_threshold(tmp_path: Path) -> None:
    assert "model.pass_below: is true; write a number" in refused(tmp_path, "bundle: m", "bundle: m, pass_below: true")


@pytest.mark.parametrize("number", ["9" * 50, "10000000000000", "1e300", '"99999999999999999999"'])
def test_a_number_beyond_all_use_is_refused(number: str, tmp_path: Path) -> None:
    told = refused(tmp_path, "http: {port: 9580}", f"records: {{max_mb: {number}}}")

    assert "config.yaml:6: records.max_mb: is " in told


def test_json_is_read_as_json_means_it(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    station = {"mode": "triggered", "cameras": {"top": {"kind": "simulated"}}}
    folder = "\N{GRINNING FACE} \N{GREEK SMALL LETTER MU}"
    place = {"site": "s", "line": "l", "state_dir": folder, "model": {"bundle": "a\tb"}}
    path.write_text(json.dumps({**place, "stations": {"press": station}}))

    config = load(path, {})

    assert (config.state_dir, config.model.bundle) == (tmp_path / folder, tmp_path / "a\tb")


def test_a_mapping_takes_over_what_it_merges_and_its_own_keys_win(tmp_path: Path) -> None:
    cameras = "top: &top {kind: simulated, seed: 1, width: 320}\n      low: {<<: *top, seed: 2}"
    config = read(tmp_path, "top: {kind: simulated}", cameras)

    shown = {name: camera.model_dump() for name, camera in config.stations["press"].cameras.items()}
    assert [(shown[name]["seed"], shown[name]["width"]) for name in ("top", "low")] == [(1, 320), (2, 320)]


def test_a_mistake_in_what_is_merged_is_told_where_it_stands(tmp_path: Path) -> None:
    cameras = "top: &top\n        kind: simulated\n        wide: 1\n      low: {<<: *top}"
    told = refused(tmp_path, "top: {kind: simulated}", cameras)

    assert "config.yaml:14: stations.press.cameras.top.wide: is not a setting" in told
    assert "config.yaml:14: stations.press.cameras.low.wide: is not a setting" in told


def test_an_override_changes_no_other_user_of_an_alias(tmp_path: Path) -> None:
    stations = "press: &press\n    mode: free_running\n    cameras: {top: {kind: simulated}}\n  oven: *press\n"
    text = GOOD.partition("  press:")[0] + f"  {stations}"
    path = tmp_path / "config.yaml"
    path.write_text(text)

    config = load(path, {"LINEGATE_STATIONS__OVEN__DEADLINE_MS": "700"})

    assert [config.stations[name].deadline_ms for name in ("press", "oven")] == [1000, 700]


SERVICE = {
    "LINEGATE_SERVICE_HOST": "10.96.12.7",
    "LINEGATE_SERVICE_PORT": "9580",
    "LINEGATE_SERVICE_PORT_HTTP": "9580",
    "LINEGATE_PORT": "tcp://10.96.12.7:9580",
    "LINEGATE_PORT_9580_TCP": "tcp://10.96.12.7:9580",
    "LINEGATE_PORT_9580_TCP_PROTO": "tcp",
    "LINEGATE_PORT_9580_TCP_PORT": "9580",
    "LINEGATE_PORT_9580_TCP_ADDR": "fd00::7",
    "LINEGATE_MQTT_PORT": "tcp://10.96.12.8:1883",
    "LINEGATE_PRESS_LINE_SERVICE_HOST": "None",
    "LINEGATE_NAME": "/app/linegate",
}


def test_what_kubernetes_says_of_a_service_called_linegate_is_no_setting(tmp_path: Path) -> None:
    config = read(tmp_path, environ={**SERVICE, "LINEGATE_HTTP__PORT": "9581"})

    assert config.http.port == 9581
    assert ignored({**SERVICE, "LINEGATE_HTTP__PORT": "9581", "HOME": "/"}) == sorted(SERVICE)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LINEGATE_MQTT_PORT", "8883"),
        ("LINEGATE_PORT", "9580"),
        ("LINEGATE_SERVICE_HOST", "linebox1"),
        ("LINEGATE_BROKER__HOST", "10.0.0.1"),
        ("LINEGATE_MQTT__PROT", "1"),
        ("LINEGATE_HOST", "10.0.0.1"),
        ("LINEGATE_", "1"),
        ("LINEGATE___", "1"),
        ("LINEGATE_SITE__NAME", "x"),
    ],
)
def test_a_variable_that_is_only_misspelt_stays_a_mistake(variable: str, value: str, tmp_path: Path) -> None:
    assert f"environment {variable}: " in refused(tmp_path, "", "", {variable: value})


@pytest.mark.parametrize(
    "value", ["!!bool maybe", "!!int ''", "{a: 1", "&a [*a]", "\x00", "!!timestamp x", "x\udcff", "07", "9" * 5000]
)
def test_a_variable_that_is_no_value_is_named(value: str, tmp_path: Path) -> None:
    assert "environment LINEGATE_SITE: " in refused(tmp_path, "", "", {"LINEGATE_SITE": value})
