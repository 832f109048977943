"""Which golden parts come out wrong, by whom and by what thresholds they are judged."""

from dataclasses import replace
from pathlib import Path

import pytest

from inspection.part import Label
from vision.bundle import Bundle, GoldenPart, Thresholds
from vision.golden import misjudged, refusal

SCORES = {"ok-low": 0.1, "ok-high": 0.3, "ok-hard": 0.8, "ng-hard": 0.2, "ng-unsure": 0.5, "ng-high": 0.9}


@pytest.fixture
def bundle(drawn: Bundle) -> Bundle:
    parts = [GoldenPart(Path(f"{name}.png"), Label(name[:2]), score) for name, score in SCORES.items()]
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
def test_thresholds_are_held_to_what_the_bundle_judges_rightly(
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
