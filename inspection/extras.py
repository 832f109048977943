"""How to install one of the optional dependencies.

The name of the project alone is never the answer: no package of that name on a public index is this project's.
"""

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent


def how_to_add(extra: str) -> str:
    """The command that installs `extra` beside the linegate that runs."""
    if (_ROOT / "pyproject.toml").is_file():
        return f"{sys.executable} -m pip install -c {_ROOT}/constraints.txt -e '{_ROOT}[{extra}]'"
    return (
        f"in linegate's source folder, make install EXTRAS='[{extra}]', or {sys.executable} -m pip install '.[{extra}]'"
    )
