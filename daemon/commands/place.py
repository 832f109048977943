"""Where commands that make bundles may write."""

import os
from pathlib import Path

from inspection.errors import DataError
from inspection.whole import what_is


def require_free(out: Path, *, force: bool) -> None:
    """Raises DataError where `out` holds something else than a bundle, or a bundle and not `force`."""
    is_bundle = bool(what_is(out / "bundle.json"))
    if is_bundle and not force:
        raise DataError(f"{out}: there is a bundle already; --force replaces it")
    try:
        if os.path.lexists(out) and not is_bundle and (what_is(out) != "folder" or any(out.iterdir())):
            raise DataError(f"{out}: not empty and no bundle; name a new folder")
        out.stat()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        raise DataError(f"{out}: cannot be used: {error}; name a new folder") from error
