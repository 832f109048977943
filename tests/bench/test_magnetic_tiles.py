"""The manifest of a set from elsewhere: one tile's exposures stay together."""

import subprocess
import sys
from pathlib import Path

from bench.magnetic_tiles import rows

ROOT = Path(__file__).parents[2]


def clone(folder: Path) -> Path:
    """Forty tiles in three exposures each, every fourth with a crack."""
    for tile in range(40):
        for exposure in (1, 2, 3):
            kind = "MT_Free" if tile % 4 else "MT_Crack"
            file = folder / kind / "Imgs" / f"exp{exposure}_num_{1000 + tile * 200 + exposure * 20}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    return folder


def test_exposures_of_one_tile_never_straddle_a_split(tmp_path: Path) -> None:
    found = list(rows(clone(tmp_path)))

    splits: dict[str, set[str]] = {}
    for _, _, _, split, group in found:
        splits.setdefault(group, set()).add(split)
    assert len(found) == 120
    assert len(splits) == 40
    assert all(len(some) == 1 for some in splits.values())
    assert {(label, split) for _, label, _, split, _ in found} == {
        (label, split) for label in ("ok", "ng") for split in ("train", "val", "test")
    }


def test_a_folder_without_such_pictures_is_named(tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, "bench/magnetic_tiles.py", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert said.returncode == 1
    assert "is it a clone" in said.stderr
