"""Where commands that make bundles may write."""

from pathlib import Path

from inspection.errors import DataError


def require_free(out: Path, *, force: bool) -> None:
    """Raises DataError where `out` holds something else than a bundle, or a bundle and not `force`."""
    if (out / "bundle.json").exists() and not force:
        raise DataError(f"{out}: there is a bundle already; --force replaces it")
    if out.exists() and not (out / "bundle.json").exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: not empty and no bundle; name a new folder")
