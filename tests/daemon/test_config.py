"""Every mistake in a configuration is named with its file, line, key and remedy."""

from pathlib import Path

import pytest

from daemon.config import MAX_BYTES, Config, load
from inspection.errors import ConfigError

GOOD = """\
site: plant1
line: line1
state_dir: state
model:
  bundle: models/m
  backend: auto
  threads: 2
mqtt:
  host: broker.example
  port: 1883
  username: linegate
  password_file: secret
http:
  port: 9580
log:
  level: info
stations:
  press:
    mode: triggered
    deadline_ms: 500
    cameras:
      top:
        kind: folder
        path: pictures
"""

# What stands in the good file, what is put in its place, and the key that the error must name. The marker `#!`
# stands on the line that the error must name.
WRONG = {
    "an unknown top-level key": ("http:\n", "htpp: {} #!\nhttp:\n", "htpp"),
    "an unknown model key": ("  threads: 2", "  thread: 2 #!", "model.thread"),
    "an unknown mqtt key": ("  port: 1883", "  prot: 1883 #!", "mqtt.prot"),
    "an unknown station key": ("    deadline_ms: 500", "    deadline: 500 #!", "stations.press.deadline"),
    "an unknown camera key": (
        "path: pictures",
        "path: pictures\n        rate: 2 #!",
        "stations.press.cameras.top.rate",
    ),
    "no site": ("site: plant1\n", "", "site"),
    "no line": ("line: line1\n", "", "line"),
    "no state_dir": ("state_dir: state\n", "", "state_dir"),
    "no bundle": ("  bundle: models/m\n", "", "model.bundle"),
    "no mode": ("    mode: triggered\n", "", "stations.press.mode"),
    "no camera path": ("        path: pictures\n", "", "stations.press.cameras.top.path"),
    "no camera kind": ("        kind: folder\n", "", "stations.press.cameras.top"),
    "an empty site": ("site: plant1", "site: '' #!", "site"),
    "a site with a slash": ("site: plant1", "site: a/b #!", "site"),
    "a site with a wildcard": ("site: plant1", "site: '+' #!", "site"),
    "a site with a blank": ("site: plant1", "site: plant 1 #!", "site"),
    "a site of 33 characters": ("site: plant1", f"site: {'x' * 33} #!", "site"),
    "a site that is a number": ("site: plant1", "site: 7 #!", "site"),
    "a site that is a list": ("site: plant1", "site: [a] #!", "site"),
    "a line with a hash": ("line: line1", "line: 'a#b' #!", "line"),
    "a station with a slash": ("  press:\n", "  pre/ss: #!\n", "stations.pre/ss"),
    "a camera with a dot": ("      top:\n", "      to.p: #!\n", "stations.press.cameras.to.p"),
    "an unknown backend": ("backend: auto", "backend: gpu #!", "model.backend"),
    "negative threads": ("threads: 2", "threads: -1 #!", "model.threads"),
    "threads as text": ("threads: 2", "threads: many #!", "model.threads"),
    "a batch of 0": ("  threads: 2", "  max_batch: 0 #!", "model.max_batch"),
    "a batch of 65": ("  threads: 2", "  max_batch: 65 #!", "model.max_batch"),
    "a batch of 1.5": ("  threads: 2", "  max_batch: 1.5 #!", "model.max_batch"),
    "no time for a batch": ("  threads: 2", "  hang_timeout_s: 0 #!", "model.hang_timeout_s"),
    "an infinite time": ("  threads: 2", "  hang_timeout_s: .inf #!", "model.hang_timeout_s"),
    "a threshold above 1": ("  threads: 2", "  pass_below: 1.5 #!", "model.pass_below"),
    "a threshold that is no number": ("  threads: 2", "  fail_above: .nan #!", "model.fail_above"),
    "crossed thresholds": ("  bundle: models/m", "  pass_below: 0.9\n  fail_above: 0.1\n  bundle: m", "model"),
    "a broker port of 0": ("port: 1883", "port: 0 #!", "mqtt.port"),
    "a broker port of 65536": ("port: 1883", "port: 65536 #!", "mqtt.port"),
    "an empty path": ("bundle: models/m", "bundle: ' ' #!", "model.bundle"),
    "an empty broker host": ("host: broker.example", "host: '' #!", "mqtt.host"),
    "MQTT version 4": ("  port: 1883", "  version: '4' #!", "mqtt.version"),
    "a password without a user": ("  username: linegate\n", "", "mqtt"),
    "a certificate without a key": ("  port: 1883", "  tls: {cert: a.pem} #!", "mqtt.tls"),
    "an unknown tls key": ("  port: 1883", "  tls: {verify: false} #!", "mqtt.tls.verify"),
    "a page port of -1": ("port: 9580", "port: -1 #!", "http.port"),
    "an unknown log level": ("level: info", "level: loud #!", "log.level"),
    "an unknown log format": ("level: info", "format: xml #!", "log.format"),
    "an unknown mode": ("mode: triggered", "mode: sometimes #!", "stations.press.mode"),
    "a deadline of 19 ms": ("deadline_ms: 500", "deadline_ms: 19 #!", "stations.press.deadline_ms"),
    "a deadline over a minute": ("deadline_ms: 500", "deadline_ms: 60001 #!", "stations.press.deadline_ms"),
    "a deadline as text": ("deadline_ms: 500", "deadline_ms: 500ms #!", "stations.press.deadline_ms"),
    "no open parts": ("    deadline_ms: 500", "    max_open: 0 #!", "stations.press.max_open"),
    "an unknown camera kind": ("kind: folder", "kind: webcam", "stations.press.cameras.top"),
    "a rate of 0": ("path: pictures", "path: pictures\n        rate_hz: 0 #!", "stations.press.cameras.top.rate_hz"),
    "a folder that is a number": ("path: pictures", "path: 5 #!", "stations.press.cameras.top.path"),
    "a station without cameras": (
        "    cameras:\n      top:\n        kind: folder\n        path: pictures\n",
        "    cameras: {} #!\n",
        "stations.press.cameras",
    ),
    "a key that stands twice": ("  threads: 2", "  threads: 2\n  threads: 4 #!", "model.threads"),
    "a station that stands twice": ("stations:\n", "stations:\n  press: {}\n", "stations.press"),
    "a section that is a list": ("log:\n  level: info\n", "log: [info] #!\n", "log"),
    "a section without keys": ("log:\n  level: info\n", "log: info #!\n", "log"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_key_is_named_with_its_line(name: str, tmp_path: Path) -> None:
    old, new, key = WRONG[name]
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    path = tmp_path / "config.yaml"
    path.write_text(text)

    with pytest.raises(ConfigError) as caught:
        load(path, {})

    told = str(caught.value)
    assert f" {key}: " in told
    marked = [number for number, line in enumerate(text.splitlines(), 1) if line.endswith("#!")]
    for number in marked:
        assert f"{path}:{number}: " in told


def test_at_least_50_wrong_configurations_are_tried() -> None:
    assert len(WRONG) >= 50


def write(tmp_path: Path, text: str | bytes = GOOD) -> Path:
    path = tmp_path / "config.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_paths_are_taken_from_the_folder_of_the_file(tmp_path: Path) -> None:
    config = load(write(tmp_path), {})

    assert config.model.bundle == tmp_path / "models/m"
    assert config.state_dir == tmp_path / "state"
    assert config.mqtt.password_file == tmp_path / "secret"


def test_two_mistakes_are_told_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace("threads: 2", "threads: x").replace("level: info", "level: loud"))

    with pytest.raises(ConfigError) as caught:
        load(path, {})

    assert "model.threads" in str(caught.value)
    assert "log.level" in str(caught.value)


def test_allowed_values_are_told(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace("mode: triggered", "mode: sometimes"))

    with pytest.raises(ConfigError, match="'triggered' or 'free_running'"):
        load(path, {})


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"# nothing\n",
        b"- a\n- b\n",
        b"just words\n",
        b"a: [1, 2\n",
        b"a: b: c\n",
        b"a: !!python/object/apply:os.system ['true']\n",
        b"a: *unknown\n",
        b"\xff\xfe\x00",
        b"a: \x00\n",
        b"? [a, b]\n: c\n",
        b"a: " + b"[" * 2000 + b"]" * 2000,
        b"x" * (MAX_BYTES + 1),
    ],
    ids=range(13),
)
def test_a_file_that_is_no_configuration_is_refused(text: bytes, tmp_path: Path) -> None:
    path = write(tmp_path, text)

    with pytest.raises(ConfigError, match=r"config\.yaml"):
        load(path, {})


def test_an_alias_bomb_is_refused_without_being_expanded(tmp_path: Path) -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]

    with pytest.raises(ConfigError, match="aliases"):
        load(write(tmp_path, "\n".join(levels)), {})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read"):
        load(tmp_path / "none.yaml", {})


def test_the_environment_overrides_a_key(tmp_path: Path) -> None:
    config = load(write(tmp_path), {"LINEGATE_MQTT__PORT": "8883", "LINEGATE_LOG__FORMAT": "json", "HOME": "/x"})

    assert config.mqtt.port == 8883
    assert config.log.format == "json"


def test_a_wrong_override_is_named_by_its_variable(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"environment LINEGATE_MQTT__PORT: mqtt\.port"):
        load(write(tmp_path), {"LINEGATE_MQTT__PORT": "many"})
    with pytest.raises(ConfigError, match="environment LINEGATE_MQTT__PROT"):
        load(write(tmp_path), {"LINEGATE_MQTT__PROT": "1"})


def test_the_hash_follows_the_settings(tmp_path: Path) -> None:
    path = write(tmp_path)
    first = load(path, {}).hash

    assert load(path, {}).hash == first
    assert load(path, {"LINEGATE_MODEL__THREADS": "3"}).hash != first


def test_settings_cannot_be_changed_after_loading(tmp_path: Path) -> None:
    config = load(write(tmp_path), {})

    with pytest.raises(ValueError, match="frozen"):
        config.site = "other"  # type: ignore[misc]
    assert isinstance(config, Config)
