"""Which golden parts come out wrong, by whom and by what thresholds they are judged."""

from dataclasses import replace
from pathlib import Path

import pytest

from inspection.part import Label
from vision.bundle import Bundle, GoldenPart, Thresholds
from vision.golden import misjudged, refusal, succession, weakness

SCORES = {"ok-low": 0.1, "ok-high": 0.3, "ok-hard": 0.8, "ng-hard": 0.2, "ng-unsure": 0.5, "ng-high": 0.9}


@pytest.fixture
def bundle(drawn: Bundle) -> Bundle:
    parts = [
        GoldenPart(Path(f"{name}.png"), Label(name[:2]), score, excused=name.endswith("hard"))
        for name, score in SCORES.items()
    ]
    return replace(drawn, thresholds=Thresholds(0.4, 0.6), golden=tuple(parts))


def names(wrong: list[str]) -> list[str]:
    return [text.split(".png")[0] for text in wrong]


@pytest.mark.parametrize(
    ("pass_below", "fail_above", "wrong"),
    [
        (0.4, 0.6, []),
        (0.31, 0.31, []),
        (0.5, 1.0, []),
        (0.51, 0.6, ["ng-unsure"]),
        (1.0, 1.0, ["ng-unsure", "ng-high"]),
        (0.3, 0.6, ["ok-high"]),
        (0.0, 0.0, ["ok-low", "ok-high"]),
    ],
)
def test_thresholds_are_held_to_what_was_expected_when_the_bundle_was_made(
    bundle: Bundle, pass_below: float, fail_above: float, wrong: list[str]
) -> None:
    assert names(misjudged(bundle, Thresholds(pass_below, fail_above))) == wrong


def test_a_backends_own_scores_are_held_to_the_same(bundle: Bundle) -> None:
    scores = [0.1, 0.45, 0.0, 1.0, 0.39, float("nan")]
    assert names(misjudged(bundle, bundle.thresholds, scores)) == ["ok-high", "ng-unsure", "ng-high"]


def test_the_refusal_names_parts_scores_and_thresholds(bundle: Bundle) -> None:
    rules = Thresholds(1.0, 1.0)
    told = refusal(misjudged(bundle, rules), rules)
    assert "pass_below 1 and fail_above 1" in told
    assert "ng-high.png (ng, score 0.9000) would be PASS" in told
    assert refusal([str(n) for n in range(9)], rules).endswith("0; 1; 2 and 6 more")


def of(bundle: Bundle, **counts: int) -> Bundle:
    """With so many golden parts, named by label and whether they are excused: ok, ok_excused, ng, ng_excused."""
    parts = [
        GoldenPart(Path(f"{name}-{number}.png"), Label(name[:2]), 0.1 if name[:2] == "ok" else 0.9, "excused" in name)
        for name, count in counts.items()
        for number in range(count)
    ]
    return replace(bundle, golden=tuple(parts))


@pytest.mark.parametrize(
    ("counts", "why"),
    [
        ({"ok": 1, "ng": 1}, ""),
        ({"ok": 12, "ok_excused": 4, "ng": 12, "ng_excused": 4}, ""),
        ({}, "holds no golden parts"),
        ({"ok": 16}, "holds no golden part labelled ng"),
        ({"ng": 16}, "holds no golden part labelled ok"),
        ({"ok": 16, "ng_excused": 16}, "excuses 16 of its 16 bad golden parts, and no more than 4 may be"),
        ({"ok": 16, "ng": 11, "ng_excused": 5}, "excuses 5 of its 16 bad golden parts"),
        ({"ok": 11, "ok_excused": 5, "ng": 16}, "excuses 5 of its 16 good golden parts"),
        ({"ok": 1, "ng_excused": 1}, "excuses 1 of its 1 bad golden parts"),
        ({"ok": 3, "ng": 2, "ng_excused": 1}, "excuses 1 of its 3 bad golden parts"),
    ],
)
def test_golden_parts_gate_where_both_classes_are_there_and_few_are_excused(
    drawn: Bundle, counts: dict[str, int], why: str
) -> None:
    assert weakness(of(drawn, **counts)).startswith(why)
    assert bool(weakness(of(drawn, **counts))) is bool(why)


def test_a_bank_may_know_good_parts_alone(drawn: Bundle) -> None:
    bank = replace(of(drawn, ok=16), arch="resnet18-bank")
    assert not weakness(bank)
    assert weakness(replace(of(drawn, ng=16), arch="resnet18-bank")).startswith("holds no golden part labelled ok")
    assert weakness(replace(of(drawn, ok=8, ng_excused=4), arch="resnet18-bank")).startswith("excuses 4 of its 4 bad")


@pytest.mark.parametrize(
    ("passes", "fails", "why"),
    [
        (0, 0, ""),
        (4, 4, ""),
        (5, 0, "misjudges 5 of the 16 bad golden parts of the live model"),
        (0, 5, "misjudges 5 of the 16 good golden parts of the live model"),
        (16, 0, "misjudges 16 of the 16 bad golden parts of the live model"),
    ],
)
def test_a_new_model_may_misjudge_few_golden_parts_of_the_live_one(
    drawn: Bundle, passes: int, fails: int, why: str
) -> None:
    """What the live one excuses counts as well: it is a bad part that passes."""
    live = of(drawn, ok=12, ok_excused=4, ng=12, ng_excused=4)
    good = [0.9] * fails + [0.1] * (16 - fails)
    bad = [0.1] * passes + [0.9] * (16 - passes)
    told = succession(live, Thresholds(0.4, 0.6), good + bad)
    assert why in told
    assert bool(told) is bool(why)
    assert not why or "no more than 4 may be: " in told


def test_a_score_that_is_not_finite_is_misjudged(drawn: Bundle) -> None:
    live = of(drawn, ok=4, ng=4)
    assert "misjudges 4 of the 4 good" in succession(live, Thresholds(0.4, 0.6), [float("nan")] * 8)
