"""Simulated parts: the same for the same seed, with defects that are known and can be seen."""

from itertools import islice

import numpy as np
import pytest
from pydantic import ValidationError

from camera.simulated import SimulatedCamera, SimulatedConfig
from inspection.frame import Frame
from inspection.part import Label

SETTINGS = {"kind": "simulated", "width": 64, "height": 48, "seed": 7, "defect_share": 0.5}


def frames(count: int, **more: object) -> list[Frame]:
    camera = SimulatedCamera("top", SimulatedConfig.model_validate(SETTINGS | more))
    captures = list(islice(camera.captures(), count))
    taken = [capture for capture in captures if isinstance(capture, Frame)]
    assert len(taken) == len(captures)
    return taken


def test_as_many_different_parts_as_asked_for_come_again_and_again() -> None:
    anew, again = frames(7), frames(7, distinct=3)
    assert [frame.number for frame in again] == [1, 2, 3, 4, 5, 6, 7]
    for place, frame in enumerate(again):
        first = anew[place % 3]
        assert (frame.source, frame.label) == (first.source, first.label)
        assert np.array_equal(frame.pixels, first.pixels)


def test_the_same_seed_gives_the_same_parts_and_another_seed_others() -> None:
    one, same, other = frames(5), frames(5), frames(5, seed=8)
    assert all(np.array_equal(a.pixels, b.pixels) and a.label == b.label for a, b in zip(one, same, strict=True))
    assert not any(np.array_equal(a.pixels, b.pixels) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(("share", "most"), [(0.0, 0), (1.0, 60)])
def test_the_share_of_defects_is_as_asked_for(share: float, most: int) -> None:
    assert sum(frame.label is Label.NG for frame in frames(60, defect_share=share)) == most


def test_a_defect_can_be_seen() -> None:
    large = {"width": 320, "height": 240, "defect_share": 0.5}
    darkest: dict[Label, list[int]] = {Label.OK: [], Label.NG: []}
    for frame in frames(20, **large):
        assert frame.label is not None
        darkest[frame.label].append(int(frame.pixels.min()))
    assert max(darkest[Label.NG]) < min(darkest[Label.OK])


@pytest.mark.parametrize("bit_depth", [8, 10, 12, 16])
@pytest.mark.parametrize("color", [False, True])
def test_a_part_looks_the_same_at_every_bit_depth(bit_depth: int, color: bool) -> None:
    gray, frame = frames(1)[0], frames(1, bit_depth=bit_depth, color=color)[0]
    assert frame.bit_depth == bit_depth
    assert frame.pixels.shape == ((48, 64, 3) if color else (48, 64))
    first = frame.pixels if frame.pixels.ndim == 2 else frame.pixels[:, :, 0]
    assert np.abs(first / (2**bit_depth - 1) * 255 - gray.pixels).max() < 1.01


def test_what_is_shown_instead_of_a_part_has_no_label() -> None:
    script = [{"at": 2, "do": "freeze"}]
    assert [frame.label is None for frame in frames(3, script=script)] == [False, True, False]


@pytest.mark.parametrize(
    "wrong", [{"script": [{"at": 0, "do": "dark"}]}, {"script": [{"at": 1, "do": "explode"}]}, {"bit_depth": 14}]
)
def test_a_script_or_a_depth_that_is_none_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SimulatedConfig.model_validate(SETTINGS | wrong)
