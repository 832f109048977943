"""Whatever stands in a configuration, or in its place, ends as settings or as an error that names the place."""

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon.config import MAX_BYTES, load
from daemon.config.text import MAX_NODES
from inspection.errors import ConfigError

EXAMPLE = Path(__file__).parents[2] / "config.yaml"
GOOD = (
    "site: a\nline: b\nstate_dir: s\nmodel: {bundle: m}\n"
    "stations:\n  press: {mode: triggered, cameras: {top: {kind: simulated}}}\n"
)
# What is wrong, the line that the error must name, and the key where there is one.
WRONG: dict[str, tuple[str | bytes, int, str]] = {
    "a bool that is none": (f"{GOOD}x: !!bool maybe\n", 7, "x"),
    "an empty integer": (f"{GOOD}http: {{port: !!int ''}}\n", 7, "http.port"),
    "an empty number": (f"{GOOD}http: {{port: !!float ''}}\n", 7, "http.port"),
    "a timestamp": (f"{GOOD}x: !!timestamp foo\n", 7, "x"),
    "a binary": (f"{GOOD}x: !!binary aGVsbG8=\n", 7, "x"),
    "a set": (f"{GOOD}x: !!set {{a, b}}\n", 7, "x"),
    "an ordered map": (f"{GOOD}x: !!omap [a: 1]\n", 7, "x"),
    "a tag of our own": (f"{GOOD}x: !foo 1\n", 7, "x"),
    "a python object": (f"{GOOD}x: !!python/object/apply:os.system ['true']\n", 7, "x"),
    "a list tagged as text": (f"{GOOD}x: !!str [a]\n", 7, "x"),
    "a merge of a number": (f"{GOOD}x: {{<<: 3}}\n", 7, "x"),
    "a merge of itself": (f"{GOOD}x: &x\n  <<: *x\n", 7, "x"),
    "two merges": (f"{GOOD}x:\n  <<: {{a: 1}}\n  <<: {{b: 1}}\n", 9, "x.<<"),
    "a key twice in what is merged": (f"{GOOD}x: {{<<: {{a: 1, a: 2}}}}\n", 7, "x.a"),
    "a list that holds itself": (f"{GOOD}x: &x [*x]\n", 7, "x.0"),
    "a mapping that holds itself": (f"{GOOD}x: &x {{y: *x}}\n", 7, "x.y"),
    "an unknown alias": (f"{GOOD}x: *nope\n", 7, ""),
    "a NUL": (f"{GOOD}x: \0\n", 7, ""),
    "a NUL by its escape": (f'{GOOD}x: "\\0"\n', 7, "x"),
    "half a surrogate pair": (f'{GOOD}x: "\\ud800"\n', 7, "x"),
    "a character that is none": (f'{GOOD}x: "\\UFFFFFFFF"\n', 7, ""),
    "bytes that are not UTF-8": (GOOD.encode() + b"# Gr\xf6\xdfe\n", 7, ""),
    "half of a UTF-16 file": (GOOD.encode("utf-16")[:-1], 6, ""),
    "a tab": (f"{GOOD}http:\n\tport: 1\n", 8, ""),
    "two documents": (f"{GOOD}---\n{GOOD}", 7, ""),
    "a key that is a list": (f"{GOOD}? [a]\n: b\n", 7, ""),
    "a key that is a number": (f"{GOOD}1: 2\n", 7, ""),
    "a key that is longer than a page": (f"{GOOD}{'k' * 900}: 2\n", 7, ""),
    "a number of 5000 digits": (f"{GOOD}http: {{port: {'9' * 5000}}}\n", 7, "http.port"),
    "no number": (f"{GOOD}records: {{historical_after_s: .NaN}}\n", 7, "records.historical_after_s"),
    "an endless number": (f"{GOOD}records: {{historical_after_s: -.inf}}\n", 7, "records.historical_after_s"),
    "a number that overflows": (f"{GOOD}records: {{historical_after_s: 1e999}}\n", 7, "records.historical_after_s"),
    "a user who is not there": (GOOD.replace("state_dir: s", "state_dir: ~nobody-here/x"), 3, "state_dir"),
    "deep lists": (GOOD + "x: " + "[" * 3000, 7, ""),
    "deep mappings": (GOOD + "{a: " * 3000, 7, ""),
    "more than anybody configures": (GOOD + "x: [" + "a," * (MAX_NODES + 1) + "]", 7, ""),
    "another version of YAML": (f"%YAML 3.0\n---\n{GOOD}", 1, ""),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_hostile_file_is_refused_with_its_line_and_key(name: str, tmp_path: Path) -> None:
    text, line, key = WRONG[name]
    path = tmp_path / "config.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())

    with pytest.raises(ConfigError) as caught:
        load(path, {})

    assert caught.value.mistakes[0].where == f"{path}:{line}"
    assert not key or caught.value.mistakes[0].key == key
    assert len(str(caught.value)) < 1000


def test_a_file_that_is_not_there_is_told_with_what_writes_or_replaces_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`linegate init` writes one, and `linegate demo` needs none"):
        load(tmp_path / "config.yaml", {})


def test_a_chain_of_merges_that_doubles_with_each_link_is_refused(tmp_path: Path) -> None:
    links = [f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 40)]
    path = tmp_path / "config.yaml"
    path.write_text("\n".join(["a0: &a0 {x: 1}", *links]))

    with pytest.raises(ConfigError, match="fewer aliases"):
        load(path, {})


def test_of_many_mistakes_the_first_are_told_and_the_rest_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(GOOD + "".join(f"x{number}: 1\n" for number in range(300)))

    with pytest.raises(ConfigError, match=r"and 250 more mistakes"):
        load(path, {})


@pytest.mark.parametrize(
    "text", [b"\xef\xbb\xbf" + GOOD.encode(), GOOD.encode("utf-16"), GOOD.replace("\n", "\r\n").encode()]
)
def test_what_windows_editors_put_around_the_same_text_makes_no_difference(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(text)

    assert load(path, {}).site == "a"


def _folder(path: Path) -> None:
    path.mkdir()


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _circle(path: Path) -> None:
    path.symlink_to(path.name)


def _nothing(path: Path) -> None:
    path.symlink_to("nowhere")


def _gigabyte(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 30)


@pytest.mark.parametrize("make", [_folder, _pipe, _device, _circle, _nothing, _gigabyte])
def test_what_is_no_file_of_that_size_is_refused_at_once(make: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    make(path)

    with pytest.raises(ConfigError, match=rf"{re.escape(str(path))}: cannot be read: "):
        load(path, {})


@pytest.mark.parametrize("name", ["x" * 300, "y" * 5000, "\0", "a/" * 3000])
def test_a_name_that_no_file_can_have_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / name, {})


@pytest.mark.parametrize("name", ["x" * 300, "n", "~", "~root"])
def test_a_credential_with_an_odd_name_does_not_stop_the_reading(name: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"{GOOD}mqtt: {{username: u, password_file: {name!r}}}\n")

    assert load(path, {"CREDENTIALS_DIRECTORY": str(tmp_path / ("c" * 300))}).mqtt.password_file is not None


# Deterministic, so that a red test is there again at the next run; `--hypothesis-seed` looks elsewhere.
fuzzed = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
PIECES = st.sampled_from(
    [
        *("a", "site", "line", "0500", "21:43", "1e9", "9" * 60, ".inf", ".nan", "~", "on", "''", '"\\0"', '"\\ud800"'),
        *("!!bool x", "!!int ''", "!!binary x", "!!set {a}", "!x", "!", "&a", "*a", "<<", "<<: *a", "? ", "- ", ": "),
        *("{", "}", "[", "]", ",", "|", ">", "%YAML 1.1", "---", "...", "#", "\t", "\n", "\n  ", "\n    ", "'", '"'),
    ]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["simulated", "folder", "triggered", "~nobody-here", "rtsp://", "", "5", "\x00"]),
)
NAMES = (
    "site line state_dir model bundle mqtt http port records stations press mode cameras top kind path source script "
    "tls ca archive public_key trigger"
)
KEYS = st.one_of(st.sampled_from(NAMES.split()), st.text(max_size=4))
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5))


def tried(folder: Path, raw: bytes, environ: dict[str, str] | None = None) -> None:
    path = folder / "config.yaml"
    path.write_bytes(raw)
    with suppress(ConfigError):
        load(path, environ or {})


@fuzzed
@given(raw=st.binary(max_size=200))
def test_random_bytes_are_settings_or_a_mistake(tmp_path: Path, raw: bytes) -> None:
    tried(tmp_path, raw)


@fuzzed
@given(pieces=st.lists(PIECES, max_size=30))
def test_random_pieces_of_yaml_are_settings_or_a_mistake(tmp_path: Path, pieces: list[str]) -> None:
    tried(tmp_path, " ".join(pieces).encode("utf-8", "surrogatepass"))


@fuzzed
@given(pieces=st.lists(PIECES, max_size=8), variable=KEYS.map(lambda key: "LINEGATE_" + key.upper().replace("\0", "")))
def test_random_values_of_variables_are_settings_or_a_mistake(tmp_path: Path, pieces: list[str], variable: str) -> None:
    tried(tmp_path, GOOD.encode(), {variable: " ".join(pieces)})


@fuzzed
@given(tree=TREES, at=KEYS)
def test_random_trees_of_values_are_settings_or_a_mistake(tmp_path: Path, tree: object, at: str) -> None:
    tried(tmp_path, flow({"site": "a", "line": "b", "state_dir": "s", "model": {"bundle": "m"}, at: tree}).encode())
    press = {"mode": "triggered", "cameras": {"top": tree}}
    tried(tmp_path, flow({"site": "a", "line": "b", "state_dir": "s", "model": tree, "stations": {at: press}}).encode())


@fuzzed
@given(at=st.integers(0, EXAMPLE.stat().st_size - 1), length=st.integers(0, 40), pieces=st.lists(PIECES, max_size=3))
def test_a_damaged_example_is_settings_or_a_mistake(tmp_path: Path, at: int, length: int, pieces: list[str]) -> None:
    raw = EXAMPLE.read_bytes()
    tried(tmp_path, raw[:at] + " ".join(pieces).encode("utf-8", "surrogatepass") + raw[at + length :])


def flow(value: object) -> str:
    """YAML on one line; its text in quotes, its numbers as they come."""
    match value:
        case dict():
            return "{" + ", ".join(f"{flow(key)}: {flow(inner)}" for key, inner in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(flow, value)) + "]"
        case str():
            return "'" + value.replace("'", "''").encode("utf-8", "replace").decode() + "'"
        case None:
            return "null"
        case _:
            return {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}.get(str(value), str(value))


def test_a_file_of_the_greatest_size_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(GOOD.encode() + b"#" * (MAX_BYTES - len(GOOD)))

    assert load(path, {}).line == "b"
