"""Small pictures on disk and data sets of them; torch stays out."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

Draw = Callable[..., Path]


def picture(number: int, side: int = 24) -> np.ndarray:
    """Gray noise, another for each number."""
    return np.random.default_rng(number).integers(60, 200, (side, side), dtype=np.uint8)


def save(path: Path, number: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", picture(number))[1].tobytes())
    return path


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Twelve good pictures and eight bad ones in parts/ok and parts/ng."""
    root = tmp_path / "parts"
    for number in range(20):
        save(root / ("ok" if number < 12 else "ng") / f"{number:02d}.png", number)
    return root
