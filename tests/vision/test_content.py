"""bundle.json tells by a hash of its own that somebody has edited it, and what its golden parts are to give."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inspection.errors import BundleError
from vision.bundle import MANIFEST, Bundle, Thresholds, load_bundle
from vision.content import KEY, content_hash, with_content_hash
from vision.write import revise_bundle, upgrade_bundle

Manifest = dict[str, Any]


def edit(bundle: Path, change: Callable[[Manifest], object], *, hashed: bool = False) -> None:
    manifest = json.loads((bundle / MANIFEST).read_text())
    change(manifest)
    (bundle / MANIFEST).unlink()
    (bundle / MANIFEST).write_text(json.dumps(with_content_hash(manifest) if hashed else manifest))


def refusal(bundle: Path) -> str:
    with pytest.raises(BundleError) as caught:
        load_bundle(bundle)
    return str(caught.value)


def older(manifest: Manifest) -> None:
    """As it was written before there was a hash."""
    del manifest[KEY]
    for part in manifest["golden"]:
        del part["expected"]


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(thresholds={"pass_below": 1.0, "fail_above": 1.0}),
        lambda m: m.update(thresholds={"pass_below": 0.0, "fail_above": 0.0}),
        lambda m: m.update(temperature=1000),
        lambda m: m.update(golden=m["golden"][:-1]),
        lambda m: m["golden"][0].update(expected="excused"),
        lambda m: m["golden"][0].update(score=0.0),
        lambda m: m["golden"].reverse(),
        lambda m: m["metrics"].update(val="better"),
        lambda m: m["recipe"].update(mean=[0.5, 0.5, 0.5]),
        lambda m: m.update(created_at="yesterday"),
        lambda m: m.update({KEY: "0" * 64}),
    ],
)
def test_any_edit_that_leaves_the_hash_is_refused(copied: Path, change: Callable[[Manifest], object]) -> None:
    edit(copied, change)
    told = refusal(copied)
    assert told.startswith(f"{copied / MANIFEST}: changed since the bundle was written (its content_hash differs)")
    assert "linegate thresholds" in told


def test_white_space_and_the_order_of_keys_do_not_matter(copied: Path) -> None:
    manifest = json.loads((copied / MANIFEST).read_text())
    (copied / MANIFEST).unlink()
    (copied / MANIFEST).write_text(json.dumps(dict(reversed(manifest.items())), indent=4))
    assert load_bundle(copied).content_hash == content_hash(manifest)


def test_the_hash_is_of_what_will_be_read(copied: Path) -> None:
    """Keys that are numbers are text in JSON, and sort as text."""
    told = with_content_hash({"metrics": {10: "b", 9: "a"}, "widths": (1, 2)})
    assert content_hash(json.loads(json.dumps(told))) == told[KEY]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.pop(KEY), "golden.expected and content_hash belong together"),
        (lambda m: m["golden"][0].pop("expected"), "golden.expected and content_hash belong together"),
        (lambda m: m["golden"][0].update(expected="maybe"), "golden.0.expected: Input should be"),
        (
            lambda m: next(g for g in m["golden"] if g["label"] == "ng").update(expected="PASS"),
            "expected PASS does not suit the label ng",
        ),
        (
            lambda m: next(g for g in m["golden"] if g["label"] == "ok").update(expected="FAIL"),
            "expected FAIL does not suit the label ok",
        ),
    ],
)
def test_half_a_hash_and_strange_outcomes_are_refused(
    copied: Path, change: Callable[[Manifest], object], said: str
) -> None:
    edit(copied, change)
    assert said in refusal(copied)


def test_what_is_expected_stays_whatever_the_thresholds_say_later(copied: Path) -> None:
    edit(copied, lambda m: m.update(thresholds={"pass_below": 1.0, "fail_above": 1.0}), hashed=True)
    assert not any(part.excused for part in load_bundle(copied).golden)


def test_golden_crops_that_changed_on_disk_are_refused(copied: Path) -> None:
    bundle = load_bundle(copied)
    file = copied / "golden" / "crops.safetensors"
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.unlink()
    file.write_bytes(raw)
    with pytest.raises(BundleError, match="changed since the bundle was loaded"):
        bundle.golden_crops()


def test_a_bundle_of_an_older_linegate_loads_and_is_written_anew(copied: Path, tmp_path: Path) -> None:
    edit(copied, older)
    bundle = load_bundle(copied)
    assert not bundle.content_hash
    new = upgrade_bundle(bundle, tmp_path / "new")
    assert new.content_hash
    assert new.hash != bundle.hash
    assert (new.thresholds, new.created_at, new.metrics) == (bundle.thresholds, bundle.created_at, bundle.metrics)
    assert [(part.label, part.score, part.excused) for part in new.golden] == [
        (part.label, part.score, part.excused) for part in bundle.golden
    ]


def test_other_thresholds_excuse_what_they_misjudge_and_what_is_named(drawn: Bundle, tmp_path: Path) -> None:
    everything = range(len(drawn.golden))
    bad = [part.score for part in drawn.golden if part.label == "ng"]
    above = Thresholds(min(bad) + 1e-6, 1.0)
    new = revise_bundle(drawn, tmp_path / "new", thresholds=above, metrics={}, golden=everything, excused=[0])
    assert [number for number in everything if new.golden[number].excused] == sorted(
        {0, *(n for n in everything if drawn.golden[n].score == min(bad))}
    )
