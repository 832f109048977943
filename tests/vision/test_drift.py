"""Each alarm comes for its own shift, goes when it goes, and stays away from what good parts do by themselves."""

from collections.abc import Callable, Iterator
from itertools import count

import cv2
import numpy as np
import pytest

from camera.impression import Impressions
from inspection.impression import PICTURES, Impression
from vision.drift import LEARNT, SCORES, WINDOW, Alarm, Reference, ScoreReference, stability_index
from vision.watch import PictureWatch, Readings, ScoreWatch

Change = Callable[[np.ndarray], np.ndarray]
HEIGHT, WIDTH = 120, 160


def parts(seed: int) -> Iterator[np.ndarray]:
    """One kind of part on a fixture: the same structure each time, grain and light a little different."""
    fixture = cv2.resize(np.random.default_rng(9).uniform(60, 180, (12, 16)).astype(np.float32), (WIDTH, HEIGHT))
    for number in count():
        rng = np.random.default_rng((seed, number))
        grain = cv2.GaussianBlur(rng.standard_normal((HEIGHT, WIDTH)).astype(np.float32), (0, 0), 0.7)
        yield np.clip(fixture * rng.normal(1, 0.01) + 15 * grain, 0, 255).astype(np.uint8)


def looks(pictures: Iterator[np.ndarray], change: Change = np.copy) -> Iterator[Impression]:
    impressions = Impressions()
    for picture in pictures:
        impressions.add(change(picture), 8)
        if impressions.pictures == PICTURES:
            yield impressions.take()


def several(looks: Iterator[Impression], wanted: int) -> list[Impression]:
    return [look for look, _ in zip(looks, range(wanted), strict=False)]


@pytest.fixture(scope="module")
def reference() -> Reference:
    learnt = Reference.learn(several(looks(parts(0)), LEARNT))
    assert learnt is not None
    return learnt


def lit(factor: float) -> Change:
    return lambda picture: np.asarray(np.clip(picture * factor, 0, 255), np.uint8)


def flat(picture: np.ndarray) -> np.ndarray:
    return np.asarray(0.7 * (picture - picture.mean()) + picture.mean(), np.uint8)


def blurred(picture: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 1.0), np.uint8)


def moved(picture: np.ndarray) -> np.ndarray:
    return np.concatenate([picture[:, :1].repeat(2, axis=1), picture[:, :-2]], axis=1)


def dirty(picture: np.ndarray) -> np.ndarray:
    spotted = picture.copy()
    cv2.circle(spotted, (50, 40), 10, 20, -1)
    return spotted


def inverted(picture: np.ndarray) -> np.ndarray:
    return 255 - picture


def raised(readings: Readings) -> set[Alarm]:
    return {alarm for alarm, reading in readings.items() if reading.raised}


def test_good_parts_raise_nothing_in_three_thousand(reference: Reference) -> None:
    watch, fired = PictureWatch(reference), set()
    for look in several(looks(parts(1)), 300):
        fired |= raised(watch.add(look))
    assert not fired


@pytest.mark.parametrize(
    ("change", "alarm", "silent"),
    [
        (lit(0.8), Alarm.EXPOSURE_SHIFT, Alarm.FOCUS_LOSS),
        (lit(1.2), Alarm.EXPOSURE_SHIFT, Alarm.CAMERA_MOVED),
        (flat, Alarm.CONTRAST_SHIFT, Alarm.EXPOSURE_SHIFT),
        (blurred, Alarm.FOCUS_LOSS, Alarm.EXPOSURE_SHIFT),
        (blurred, Alarm.TEXTURE_SHIFT, Alarm.CAMERA_MOVED),
        (moved, Alarm.CAMERA_MOVED, Alarm.FOCUS_LOSS),
        (dirty, Alarm.SCENE_CHANGED, Alarm.CAMERA_MOVED),
        (lit(0.8), Alarm.HISTOGRAM_SHIFT, Alarm.CAMERA_MOVED),
        (inverted, Alarm.SCENE_CHANGED, Alarm.FOCUS_LOSS),
    ],
)
def test_a_shift_raises_its_alarm_within_a_window_and_a_look_and_its_end_clears_it(
    reference: Reference, change: Change, alarm: Alarm, silent: Alarm
) -> None:
    watch = PictureWatch(reference)
    for look in several(looks(parts(2)), WINDOW):
        watch.add(look)

    shifted = [raised(watch.add(look)) for look in several(looks(parts(3), change), WINDOW + 1)]
    restored = [raised(watch.add(look)) for look in several(looks(parts(4)), WINDOW + 1)]

    assert alarm in shifted[-1]
    assert not any(silent in now for now in shifted)
    assert not restored[-1]


def test_a_single_look_beyond_the_limit_raises_nothing(reference: Reference) -> None:
    watch = PictureWatch(reference)
    dark, light = several(looks(parts(3), lit(0.3)), 1), several(looks(parts(2)), 2 * WINDOW)
    told = [watch.add(look) for look in [*light[:WINDOW], *dark]]
    assert abs(told[-1][Alarm.EXPOSURE_SHIFT].deviation) > reference.limits[Alarm.EXPOSURE_SHIFT]
    assert not raised(told[-1])


def test_what_wanders_by_itself_is_not_watched() -> None:
    """Parts of any brightness, lying anywhere: neither light nor position can tell anything."""

    def strewn(picture: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng(int(picture.sum()))
        return lit(float(rng.uniform(0.2, 1.2)))(np.roll(picture, tuple(rng.integers(0, 99, 2)), (0, 1)))

    batches = [look for seed in range(LEARNT // WINDOW) for look in several(looks(parts(seed), batch(seed)), WINDOW)]
    learnt = Reference.learn(batches)
    assert learnt is not None
    assert not {Alarm.EXPOSURE_SHIFT, Alarm.CAMERA_MOVED} & learnt.limits.keys()
    watch = PictureWatch(learnt)
    readings = [watch.add(look) for look in several(looks(parts(1), strewn), WINDOW + 5)][-1]
    assert readings[Alarm.CAMERA_MOVED].limit is None
    assert not {Alarm.EXPOSURE_SHIFT, Alarm.CAMERA_MOVED} & raised(readings)


def batch(seed: int) -> Change:
    """Everything of one batch lies at one place under one light."""
    rng = np.random.default_rng(seed)
    factor, place = float(rng.uniform(0.2, 1.2)), tuple(rng.integers(20, 99, 2))
    return lambda picture: lit(factor)(np.roll(picture, place, (0, 1)))


def test_without_a_reference_the_first_three_hundred_pictures_are_it() -> None:
    watch = PictureWatch(None)
    assert not any(watch.add(look) for look in several(looks(parts(1)), LEARNT))
    assert watch.reference is not None
    assert watch.reference.pictures == LEARNT * PICTURES
    told = [raised(watch.add(look)) for look in several(looks(parts(2), lit(0.7)), WINDOW + 2)]
    assert Alarm.EXPOSURE_SHIFT in told[-1]


def test_a_reference_survives_its_file(reference: Reference) -> None:
    again = Reference.model_validate_json(reference.model_dump_json())
    assert again == reference
    assert np.abs(again.impression().scene - reference.impression().scene).max() == 0


def test_two_windows_are_the_least_that_a_reference_is_made_of() -> None:
    few = several(looks(parts(0)), 2 * WINDOW)
    assert Reference.learn(few[:-1]) is None
    assert Reference.learn(few) is not None


def good_scores(seed: int, number: int) -> list[float]:
    return [float(score) for score in np.random.default_rng(seed).beta(1, 12, number)]


def test_scores_as_before_raise_nothing_and_scores_that_creep_up_do() -> None:
    learnt = ScoreReference.learn(good_scores(0, 500))
    assert learnt is not None
    watch, fired = ScoreWatch(learnt), set()
    for score in good_scores(1, 10_000):
        fired |= raised(watch.add(score))
    assert not fired
    crept = [raised(watch.add(min(score + 0.08, 1.0))) for score in good_scores(2, SCORES)]
    assert Alarm.SCORE_SHIFT in set().union(*crept)


def test_scores_that_are_all_the_same_are_no_reference() -> None:
    assert ScoreReference.learn([0.0] * 500) is None
    assert ScoreReference.learn(good_scores(0, SCORES - 1)) is None


def test_the_stability_index_is_that_of_the_textbook() -> None:
    before, now = np.array([0.25, 0.25, 0.25, 0.25]), np.array([0.4, 0.3, 0.2, 0.1])
    expected = sum((p - q) * np.log(p / q) for p, q in zip(now, before, strict=True))
    assert stability_index(now, before) == pytest.approx(expected, rel=0.01)
    assert stability_index(before, before) == 0
