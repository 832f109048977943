"""Which linegate this is: its release, and the commit that it was built from or is run from.

setup.py runs this file before anything is installed: it imports the standard library alone.
"""

import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

RELEASE = "0.1.0"
_ROOT = Path(__file__).resolve().parent.parent
# `git archive`, and so the archives of a release, write the commit here.
_ARCHIVED = "$Format:%h$"


@cache
def version() -> str:
    """Such as `0.1.0+348.g0a74f37c`: release, number of commits, commit; `.dirty` where files differ from it.

    In a checkout it is that of the files as they are now, whatever was true when the environment was made.
    """
    return of_checkout(_ROOT) or metadata.version("linegate")


def of_source(root: Path) -> str:
    """The version of a source folder: a checkout, an unpacked source distribution or archive, or a mere copy."""
    unpacked = root / "PKG-INFO"
    if unpacked.is_file():
        for line in unpacked.read_text().splitlines():
            if line.startswith("Version: "):
                return line.removeprefix("Version: ").strip()
    archived = "" if _ARCHIVED.startswith("$") else f"+g{_ARCHIVED}"
    return of_checkout(root) or RELEASE + archived


def of_checkout(root: Path) -> str | None:
    """None where `root` is no checkout, or git is missing or cannot read it."""
    if not (root / ".git").exists():
        return None
    # Made by one user and installed by root, it belongs to neither in git's eyes. Looking takes no lock.
    git = ["git", "--no-optional-locks", "-c", f"safe.directory={root}", "-C", str(root)]
    count = _said([*git, "rev-list", "--count", "HEAD"])
    commit = _said([*git, "describe", "--always", "--dirty", "--abbrev=8", "--exclude=*"])
    return f"{RELEASE}+{count}.g{commit.replace('-', '.')}" if count and commit else None


def _said(command: list[str]) -> str:
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "" if ended.returncode else ended.stdout.strip()
