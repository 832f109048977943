"""A gate that the bundle itself could empty would be none: what an edited bundle cannot do to its golden parts."""

import argparse
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daemon.checks import inspect
from daemon.commands import check, upgrade
from daemon.config import load
from inspection.errors import BundleError, ConfigError, LinegateError
from vision.bundle import load_bundle
from vision.content import KEY, with_content_hash

BUNDLE = Path(__file__).parents[2] / "models" / "bsdata"

Manifest = dict[str, Any]
Change = Callable[[Manifest], object]


def _link(source: str, to: str) -> None:
    """Without a copy where that can be: not onto another file system, nor of another user's file."""
    try:
        os.link(source, to)
    except OSError:
        shutil.copy2(source, to)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of the demo's whose bundle.json may be changed."""
    copy = tmp_path / "bundle"
    shutil.copytree(BUNDLE, copy, copy_function=_link, ignore=shutil.ignore_patterns("demo"))
    return copy


@pytest.fixture
def config(bundle: Path, tmp_path: Path) -> Path:
    file = tmp_path / "config.yaml"
    stations = {"press": {"mode": "triggered", "cameras": {"top": {"kind": "simulated"}}}}
    told = {"site": "s", "line": "l", "state_dir": "state", "model": {"bundle": str(bundle)}, "stations": stations}
    file.write_text(json.dumps(told))
    return file


def edit(bundle: Path, change: Change) -> None:
    """As whoever knows how the hash is made."""
    manifest = json.loads((bundle / "bundle.json").read_text())
    change(manifest)
    (bundle / "bundle.json").unlink()
    (bundle / "bundle.json").write_text(json.dumps(with_content_hash(manifest) if KEY in manifest else manifest))


def older(manifest: Manifest) -> None:
    del manifest[KEY]
    for part in manifest["golden"]:
        del part["expected"]


def also(first: Change, second: Change) -> Change:
    def both(manifest: Manifest) -> None:
        first(manifest)
        second(manifest)

    return both


def thresholds(pass_below: float, fail_above: float) -> Change:
    return lambda manifest: manifest.update(thresholds={"pass_below": pass_below, "fail_above": fail_above})


def excusing(change: Change) -> Change:
    """And every golden part that comes out wrong then is excused."""

    def both(manifest: Manifest) -> None:
        change(manifest)
        for part in manifest["golden"]:
            passes = part["score"] < manifest["thresholds"]["pass_below"]
            right = "PASS" if part["label"] == "ok" else "FAIL"
            part["expected"] = right if passes is (right == "PASS") else "excused"

    return both


def without(label: str) -> Change:
    return lambda manifest: manifest.update(golden=[part for part in manifest["golden"] if part["label"] != label])


def flipped(manifest: Manifest) -> None:
    """Each bad golden part is called good, with thresholds that let it pass."""
    for part in manifest["golden"]:
        part.update(label="ok", expected="PASS")
    thresholds(1.0, 1.0)(manifest)


def low(manifest: Manifest) -> None:
    """As if a calibration made every score low."""
    for part in manifest["golden"]:
        part["score"] *= 0.1


EDITS: dict[str, Change] = {
    "thresholds 1": thresholds(1.0, 1.0),
    "thresholds that pass a third of the bad": thresholds(0.85, 0.85),
    "thresholds 0": thresholds(0.0, 0.0),
    "thresholds 1, what they misjudge excused": excusing(thresholds(1.0, 1.0)),
    "thresholds 0.8, what they misjudge excused": excusing(thresholds(0.84, 0.84)),
    "thresholds 0, what they misjudge excused": excusing(thresholds(0.0, 0.0)),
    "no golden part": lambda manifest: manifest.update(golden=[]),
    "no bad golden part": without("ng"),
    "no good golden part": without("ok"),
    "labels flipped": flipped,
    "scores low": low,
    "scores low, what is misjudged excused": excusing(low),
    "bad parts excused": lambda m: [p.update(expected="excused") for p in m["golden"] if p["label"] == "ng"],
    "older, thresholds 1": also(older, thresholds(1.0, 1.0)),
    "older, thresholds 0.85": also(older, thresholds(0.85, 0.85)),
    "older, no golden part": also(older, lambda manifest: manifest.update(golden=[])),
    "older, no bad golden part": also(older, without("ng")),
}


@pytest.mark.parametrize("change", EDITS.values(), ids=EDITS.keys())
def test_a_bundle_whose_golden_parts_an_edit_has_disarmed_is_refused(
    bundle: Path, config: Path, change: Change
) -> None:
    """Even with the right hash: only few golden parts may be excused, and both classes have to be there."""
    edit(bundle, change)
    with pytest.raises(ConfigError) as caught:
        inspect(load(config, {}))
    assert str(bundle) in str(caught.value)


@pytest.mark.parametrize(("pass_below", "fail_above"), [(1.0, 1.0), (0.95, 0.95), (0.6, 1.0), (0.0, 0.0), (0.1, 0.6)])
def test_thresholds_of_the_configuration_are_held_to_the_same(
    config: Path, pass_below: float, fail_above: float
) -> None:
    variables = {"LINEGATE_MODEL__PASS_BELOW": str(pass_below), "LINEGATE_MODEL__FAIL_ABOVE": str(fail_above)}
    with pytest.raises(ConfigError, match="golden parts would be judged wrongly"):
        inspect(load(config, variables))


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-0.1", "1.1"])
@pytest.mark.parametrize("key", ["PASS_BELOW", "FAIL_ABOVE"])
def test_a_threshold_that_is_no_probability_is_refused(config: Path, key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"model.{key.lower()}"):
        load(config, {f"LINEGATE_MODEL__{key}": value})


def test_the_demos_bundle_and_one_of_an_older_linegate_are_taken_and_the_older_one_is_told(
    bundle: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told() -> list[str]:
        parser = argparse.ArgumentParser()
        check.register(parser.add_subparsers())
        args = parser.parse_args(["check", str(config), "--json"])
        assert args.run(args) == 0
        said: list[str] = json.loads(capsys.readouterr().out)["warnings"]
        return said

    assert not any("older linegate" in warning for warning in told())
    edit(bundle, older)
    assert any(f"linegate upgrade {bundle} writes it anew" in warning for warning in told())


def run_upgrade(*words: object) -> int:
    parser = argparse.ArgumentParser()
    upgrade.register(parser.add_subparsers())
    args = parser.parse_args(["upgrade", *map(str, words)])
    return int(args.run(args))


def test_upgrade_gives_an_older_bundle_its_hash_and_its_outcomes(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = load_bundle(bundle)
    edit(bundle, older)
    (bundle / "bundle.json.minisig").write_text("of the old one")

    assert run_upgrade(bundle) == 0

    new = load_bundle(bundle)
    assert new.content_hash == written.content_hash
    assert new.golden == written.golden
    out = capsys.readouterr().out
    assert "015-ok.jpg, 016-ng.jpg, 017-ng.jpg, 018-ng.jpg" in out
    assert "sign it again" in out
    assert not (bundle / "bundle.json.minisig").exists()
    assert run_upgrade(bundle) == 0
    assert "as this version writes it already" in capsys.readouterr().out
    assert run_upgrade(bundle, "--out", tmp_path / "new") == 0
    with pytest.raises(LinegateError, match="--force replaces it"):
        run_upgrade(bundle, "--out", tmp_path / "new")


def test_upgrade_refuses_what_no_line_would_take(bundle: Path) -> None:
    edit(bundle, EDITS["older, thresholds 1"])
    before = (bundle / "bundle.json").read_bytes()
    with pytest.raises(BundleError, match="not upgraded: it excuses 16 of its 16 bad golden parts"):
        run_upgrade(bundle)
    assert (bundle / "bundle.json").read_bytes() == before
