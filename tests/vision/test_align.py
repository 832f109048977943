"""How far one picture lies from another is found to a fraction of a pixel, and never guessed."""

import numpy as np
import pytest

from tests.vision.plates import noisy, printed, seen
from vision.align import FARTHEST, SIDE, align, shift, small


@pytest.mark.parametrize(("right", "below"), [(0, 0), (12.3, -7.8), (-40, 31.5), (0.6, 0.4)])
def test_a_shift_is_found_to_half_a_pixel_of_the_frame(right: float, below: float) -> None:
    plate = printed()

    found = align(small(seen(plate)), small(noisy(seen(plate, right, below))))

    assert abs(found.across * 640 - right) < 0.5
    assert abs(found.down * 512 - below) < 0.5
    assert found.likeness > 0.9


def test_light_is_told_apart_from_the_part() -> None:
    plate = printed()
    darker = np.asarray(seen(plate, 9, 4) * 0.7 + 20, np.uint8)

    found = align(small(seen(plate)), small(darker))

    assert abs(found.gain - 0.7) < 0.02
    assert abs(found.offset - 20) < 3


def test_a_picture_is_not_moved_to_where_it_resembles_less() -> None:
    random = np.random.default_rng(0)
    found = align(small(seen(printed())), random.normal(100, 30, (SIDE, SIDE)).astype(np.float32))

    still = align(small(seen(printed())), small(seen(printed())))

    assert (still.across, still.down) == (0, 0)
    assert abs(found.likeness) < 0.2


def test_a_part_that_lies_too_far_away_is_left_where_it_is() -> None:
    plate = printed()
    far = np.roll(seen(plate), round(640 * FARTHEST * 1.5), axis=1)

    found = align(small(seen(plate)), small(far))

    assert shift(small(seen(plate)), small(far))[0] > FARTHEST
    assert (found.across, found.down) == (0, 0)


@pytest.mark.parametrize("tone", [0, 128, 255])
def test_a_flat_picture_is_compared_without_being_moved_or_stretched_without_end(tone: int) -> None:
    flat = np.full((SIDE, SIDE), tone, np.float32)
    pattern = small(seen(printed()))

    for one, other in ((pattern, flat), (flat, pattern), (flat, flat)):
        found = align(one, other)
        assert (found.across, found.down, found.likeness) == (0, 0, 0)
        assert 0.5 <= found.gain <= 2
