"""Parts of the simulated camera that come round again."""

from itertools import islice

import numpy as np

from camera.simulated import SimulatedCamera, SimulatedConfig
from inspection.frame import Frame


def test_as_many_different_parts_as_asked_for_come_again_and_again() -> None:
    settings = {"kind": "simulated", "width": 64, "height": 48, "seed": 7, "defect_share": 0.5}
    anew, again = (
        list(islice(SimulatedCamera("top", SimulatedConfig.model_validate(settings | more)).captures(), 7))
        for more in ({}, {"distinct": 3})
    )

    assert [capture.number for capture in again] == [1, 2, 3, 4, 5, 6, 7]
    for place, capture in enumerate(again):
        first = anew[place % 3]
        assert isinstance(capture, Frame)
        assert isinstance(first, Frame)
        assert (capture.source, capture.label) == (first.source, first.label)
        assert np.array_equal(capture.pixels, first.pixels)
