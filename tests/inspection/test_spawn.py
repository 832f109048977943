"""Children are of their parent's version, whatever an upgrade did meanwhile."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = """\
import os
from pathlib import Path
from inspection.spawn import keep_program, start

VERSION = {version!r}

def tell(to):
    Path(to).write_text(VERSION)

if __name__ == "__main__":
    keep_program()
    os.replace("next", "current")
    child = start(tell, "told", name="child")
    child.join()
"""


def test_a_child_that_starts_after_an_upgrade_is_of_its_parents_version(tmp_path: Path) -> None:
    for version in ("old", "new"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "linegate").write_text(PROGRAM.format(version=version))
    (tmp_path / "current").symlink_to("old")
    (tmp_path / "next").symlink_to("new")
    command = [sys.executable, str(tmp_path / "current" / "linegate")]
    subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, timeout=60)
    assert (tmp_path / "told").read_text() == "old"
    assert (tmp_path / "current").resolve() == tmp_path / "new"
