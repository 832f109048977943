"""Where the files lie that come with linegate: the demo's model and pictures, the weights that training begins with."""

from pathlib import Path
from sysconfig import get_path


def models() -> Path:
    """The folder of the bundles and weights that come along, in a checkout as in any installation."""
    beside = Path(__file__).resolve().parent.parent
    # A checkout, `pip install --target`, an environment, and `pip install --user`.
    roots = (
        beside,
        beside / "share" / "linegate",
        Path(get_path("data")) / "share" / "linegate",
        Path(get_path("data", "posix_user")) / "share" / "linegate",
    )
    found = next((root for root in roots if (root / "models" / "bsdata" / "bundle.json").is_file()), roots[2])
    return found / "models"
