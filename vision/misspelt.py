"""What to say of a folder that is not there."""

from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path

from inspection.errors import BundleError
from inspection.whole import what_is


def require_folder(path: Path, holding: str) -> None:
    """Raises BundleError where `path` is no folder; it names the most similar one that has a file `holding`."""
    kind = what_is(path)
    if kind == "folder":
        return
    if kind:
        raise BundleError(f"{path}: is not a folder; name the folder that `linegate train` wrote")
    near: list[str] = []
    with suppress(OSError, ValueError):
        beside = [file.parent.name for file in path.parent.glob(f"*/{holding}")]
        near = get_close_matches(path.name, beside, n=1, cutoff=0.5)
    there = f"did you mean {path.parent / near[0]}?" if near else "name the folder that `linegate train` wrote"
    raise BundleError(f"{path}: there is no such folder; {there}")
