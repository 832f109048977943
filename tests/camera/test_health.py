"""Which pictures must not be judged, and why."""

import numpy as np
import pytest

from camera.health import Health, HealthConfig
from inspection.frame import Frame, Pixels
from inspection.verdict import Reason

DTYPES = {8: np.uint8, 10: np.uint16, 12: np.uint16, 16: np.uint16}
RNG = np.random.default_rng(1)


def frame(pixels: Pixels, bit_depth: int = 8) -> Frame:
    return Frame("top", 1, pixels, 0.0, bit_depth)


def flat(share_of_full: float, bit_depth: int = 8) -> Frame:
    pixels = np.full((40, 40), round(share_of_full * (2**bit_depth - 1)), DTYPES[bit_depth])
    return frame(pixels, bit_depth)


def health(*, frozen_after: int = 1, same_size: bool = True, **settings: float | None) -> Health:
    config = HealthConfig.model_validate(settings)
    return Health(config, frozen_after=frozen_after, same_size=same_size, size=None)


def reason(found: tuple[Reason, str] | None) -> Reason | None:
    return found[0] if found else None


@pytest.mark.parametrize("bit_depth", [8, 10, 12, 16])
def test_brightness_is_a_share_of_full_scale_at_every_bit_depth(bit_depth: int) -> None:
    assert reason(health().unfit(flat(0.0, bit_depth))) is Reason.FRAME_DARK
    assert reason(health(dark_mean=20).unfit(flat(0.07, bit_depth))) is Reason.FRAME_DARK
    assert reason(health(dark_mean=20).unfit(flat(0.09, bit_depth))) is None
    assert reason(health().unfit(flat(0.5, bit_depth))) is None
    assert reason(health().unfit(flat(1.0, bit_depth))) is Reason.FRAME_BLOWN


def test_a_part_may_shine_in_places() -> None:
    picture = np.full((100, 100), 255, np.uint8)
    picture[:8] = 90
    assert reason(health().unfit(frame(picture))) is None
    assert reason(health(blown_share=0.9).unfit(frame(picture))) is Reason.FRAME_BLOWN


def test_limits_on_brightness_can_be_turned_off() -> None:
    assert health(dark_mean=0).unfit(flat(0.0)) is None
    assert health(blown_share=1).unfit(flat(1.0)) is None


def test_a_picture_is_frozen_only_when_it_repeats_exactly() -> None:
    check = health()
    still = RNG.integers(80, 120, (40, 40), np.uint8)
    noisy = still.copy()
    noisy[4, 7] += 1
    assert [reason(check.unfit(frame(p))) for p in (still, still, noisy, still)] == [
        None,
        Reason.FRAME_FROZEN,
        None,
        None,
    ]


def test_an_encoder_may_repeat_a_still_scene_for_a_while() -> None:
    check = health(frozen_after=3)
    found = [reason(check.unfit(flat(0.4))) for _ in range(5)]
    assert found == [None, None, None, Reason.FRAME_FROZEN, Reason.FRAME_FROZEN]


def test_the_configuration_decides_over_the_kind_what_frozen_is() -> None:
    never = health(frozen_after=1)
    off = Health(HealthConfig(frozen_after=0), frozen_after=1, same_size=True, size=None)
    on = Health(HealthConfig(frozen_after=1), frozen_after=0, same_size=True, size=None)
    for check in (never, off, on):
        check.unfit(flat(0.4))
    assert [reason(check.unfit(flat(0.4))) for check in (never, off, on)] == [
        Reason.FRAME_FROZEN,
        None,
        Reason.FRAME_FROZEN,
    ]


def test_pictures_that_nobody_asked_for_count_as_seen() -> None:
    check = health()
    check.watch(flat(0.4))
    assert reason(check.unfit(flat(0.4))) is Reason.FRAME_FROZEN


@pytest.mark.parametrize(
    ("pixels", "bit_depth"),
    [
        (np.zeros((0, 0), np.uint8), 8),
        (np.zeros((0, 5), np.uint8), 8),
        (np.zeros(7, np.uint8), 8),
        (np.zeros((4, 4, 1), np.uint8), 8),
        (np.zeros((4, 4, 4), np.uint8), 8),
        (np.zeros((4, 4, 3, 2), np.uint8), 8),
        (np.zeros((4, 4), np.float32), 8),
        (np.zeros((4, 4), np.int16), 16),
        (np.zeros((4, 4), np.uint8), 12),
        (np.zeros((4, 4), np.uint16), 8),
        (np.zeros((4, 4), np.uint16), 14),
        (np.full((4, 4), 1024, np.uint16), 10),
        (np.full((4, 4), 4096, np.uint16), 12),
    ],
)
def test_what_is_no_picture_is_a_decode_error(pixels: Pixels, bit_depth: int) -> None:
    assert reason(health().malformed(frame(pixels, bit_depth))) is Reason.DECODE_ERROR


def test_a_picture_of_another_size_is_a_decode_error_where_one_size_is_expected() -> None:
    small, large = flat(0.4), frame(np.full((80, 40), 100, np.uint8))
    live, replay = health(), health(same_size=False)
    assert [reason(live.malformed(f)) for f in (small, large, small)] == [None, Reason.DECODE_ERROR, None]
    assert [reason(replay.malformed(f)) for f in (small, large)] == [None, None]
    told = Health(HealthConfig(same_size=False), frozen_after=1, same_size=True, size=(40, 40))
    assert told.malformed(large) is None
