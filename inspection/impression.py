"""What some pictures of one camera looked like on the whole: by this a changed camera, light or part is noticed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

SCENE_SIDE = 128
"""Pixels of a side of `Impression.scene`."""

HISTOGRAM_BINS = 32

PICTURES = 10
"""Pictures that a camera's process looks at before it tells of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Impression:
    """Means over `pictures` pictures, gray values at 0..255 whatever the bit depth.

    `contrast` is the standard deviation within a picture. `texture` is the root mean square difference of pixels that
    lie 4 apart. `sharpness` is the energy of differences between neighbours over that between pixels 4 apart: 0..1 or
    a little more, the same under any light and any contrast, and less the more the picture is blurred.
    `histogram` float64 [32] sums to 1; `scene` float32 [128, 128] is the mean picture, its sides scaled apart.
    """

    pictures: int
    brightness: float
    contrast: float
    texture: float
    sharpness: float
    histogram: NDArray[np.float64]
    scene: NDArray[np.float32]

    @classmethod
    def of(cls, parts: Sequence[Self]) -> Self:
        """What the pictures of all `parts`, at least one, looked like together."""
        weights = np.array([part.pictures for part in parts], np.float64)
        shares = weights / weights.sum()
        return cls(
            int(weights.sum()),
            float(shares @ [part.brightness for part in parts]),
            float(shares @ [part.contrast for part in parts]),
            float(shares @ [part.texture for part in parts]),
            float(shares @ [part.sharpness for part in parts]),
            shares @ np.stack([part.histogram for part in parts]),
            np.tensordot(shares.astype(np.float32), np.stack([part.scene for part in parts]), 1),
        )
