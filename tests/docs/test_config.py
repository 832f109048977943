"""The annotated config.yaml, its schema for editors, and the page that lists every setting."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from camera.settings import CameraSettings
from daemon.cli import EX_CONFIG, main
from daemon.config import Config, load
from daemon.lacking import is_example

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config.yaml"
INSTALLED = ROOT / "systemd" / "example.yaml"
PAGE = ROOT / "docs" / "reference" / "config.md"
# A setting that is commented out; prose begins with a capital letter, or has no colon after its first word.
SILENT = re.compile(r"^( *)# ( *[a-z_]+:(?: .*)?)$", re.MULTILINE)


def spoken(path: Path) -> str:
    """The file with every commented-out setting turned on."""
    return SILENT.sub(r"\1\2", path.read_text())


def keys(model: type[BaseModel]) -> Iterator[str]:
    """Every key at any depth, but for those of cameras, whose kinds differ."""
    for name, field in model.model_fields.items():
        yield name
        for inner in _models(field.annotation):
            yield from keys(inner)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if (
        isinstance(annotation, type)
        and issubclass(annotation, BaseModel)
        and not issubclass(annotation, CameraSettings)
    ):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def flat(value: Any, where: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {k: v for key, inner in value.items() for k, v in flat(inner, f"{where}.{key}").items()}
    return {where.removeprefix("."): value}


def test_the_committed_schema_is_the_one_of_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    written = (ROOT / "linegate.schema.json").read_text()
    assert written == capsys.readouterr().out, "run: linegate schema --out linegate.schema.json"


def test_the_page_of_settings_is_the_one_of_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--markdown"]) == 0
    assert PAGE.read_text() == capsys.readouterr().out, "run: linegate schema --markdown --out docs/reference/config.md"


def test_every_setting_on_the_page_is_explained() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert len(rows) > 80
    assert not [row for row in rows if row.endswith("|  |")]


@pytest.mark.parametrize("path", [EXAMPLE, INSTALLED], ids=lambda path: path.name)
def test_editors_find_the_schema_in_the_first_line(path: Path) -> None:
    named = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", path.read_text().splitlines()[0])
    assert named
    assert Path(named[1]).name == "linegate.schema.json"


def test_the_example_is_found_good_and_what_this_machine_lacks_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(EXAMPLE)]) == 0
    told = capsys.readouterr().out
    assert "good. 2 stations, 2 cameras" in told
    assert "stations.press.cameras.top.cti: there is no /opt/vendor/lib/producer.cti" in told


def test_the_example_s_cameras_are_known_to_be_invented(tmp_path: Path) -> None:
    assert is_example(load(EXAMPLE, {}))
    mine = tmp_path / "config.yaml"
    mine.write_text(EXAMPLE.read_text().replace("rtsp://192.168.10.21", "rtsp://10.0.0.9"))
    assert not is_example(load(mine, {}))
    assert not is_example(load(INSTALLED, {}))


def test_every_setting_that_is_commented_out_exists_and_shows_its_default(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(spoken(EXAMPLE))
    quiet, loud = (flat(load(file, {}).model_dump(mode="json")) for file in (EXAMPLE, path))
    here, there = str(ROOT), str(tmp_path)
    changed = {
        key: (quiet.get(key), value)
        for key, value in loud.items()
        if str(quiet.get(key)).replace(here, there) != str(value)
    }
    assert {before for before, _ in changed.values()} <= {None}


def test_every_setting_but_those_of_one_camera_kind_is_in_the_example() -> None:
    text = spoken(EXAMPLE)
    assert not {key for key in keys(Config) if not re.search(rf"^ *{key}:", text, re.MULTILINE)}


def test_both_examples_tell_of_the_same_place_on_a_line() -> None:
    real, installed = load(EXAMPLE, {}), load(INSTALLED, {})
    assert (installed.site, installed.line) == (real.site, real.line)
    assert installed.stations.keys() <= real.stations.keys()
    assert all(installed.stations[name].mode == real.stations[name].mode for name in installed.stations)
    order, shorter = (list(yaml.safe_load(path.read_text())) for path in (EXAMPLE, INSTALLED))
    assert [key for key in order if key in shorter] == shorter


def test_the_wheel_brings_what_the_installed_example_names() -> None:
    brought = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["data-files"]
    files = {
        f"{to}/{path.name}" for to, patterns in brought.items() for pattern in patterns for path in ROOT.glob(pattern)
    }
    named = re.findall(r"/opt/linegate/current/(\S+\.\w+)", INSTALLED.read_text())
    assert len(named) == 3
    assert not [name for name in named if name not in files]
    assert "/opt/linegate/current/share/linegate/models/bsdata " in INSTALLED.read_text()


def test_an_empty_section_is_named_with_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(EXAMPLE.read_text().replace("  require_record:", "  # require_record:"))
    assert main(["check", str(path)]) == EX_CONFIG
    assert "records: is empty; write its keys below it, or leave it out" in capsys.readouterr().err


def test_a_video_file_is_taken_from_the_folder_of_the_config(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    stream = "rtsp://192.168.10.21:554/stream1"
    path.write_text(EXAMPLE.read_text().replace(stream, "takes/belt.mp4"))
    sources = [load(file, {}).stations["outfeed"].cameras["belt"].model_dump()["source"] for file in (path, EXAMPLE)]
    assert sources == [str(tmp_path / "takes/belt.mp4"), stream]


def test_no_number_may_be_infinite(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    numbers, taken = re.findall(r"^ *([a-z_]+): \d+\.\d+(?= )", spoken(EXAMPLE), re.MULTILINE), []
    assert {"hang_timeout_s", "historical_after_s", "max_rate_hz", "dark_mean"} <= set(numbers)
    for key in numbers:
        path.write_text(re.sub(rf"^( *{key}): \d+\.\d+", r"\1: .inf", spoken(EXAMPLE), count=1, flags=re.MULTILINE))
        if main(["check", str(path)]) != EX_CONFIG:
            taken.append(key)
    assert not taken
