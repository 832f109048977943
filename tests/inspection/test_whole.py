"""A file is replaced as a whole, or stays as it was."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from inspection.whole import commit_file, meant_for, put_file

BOTH = pytest.mark.parametrize("put", [put_file, commit_file])


@BOTH
def test_a_file_and_its_folder_are_made_and_then_replaced(tmp_path: Path, put: Callable[..., None]) -> None:
    file = tmp_path / "a" / "b" / "c.bin"
    put(file, b"one")
    put(file, b"two", b"three")
    assert file.read_bytes() == b"twothree"
    assert list(file.parent.iterdir()) == [file]


@BOTH
def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path, put: Callable[..., None]) -> None:
    (tmp_path / "taken" / "inside").mkdir(parents=True)
    with pytest.raises(OSError):
        put(tmp_path / "taken", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_process_that_is_killed_while_it_writes_leaves_the_old_file_and_a_name_that_tells(tmp_path: Path) -> None:
    file = tmp_path / "f.png"
    put_file(file, b"old")
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from inspection import whole\n"
        "def parts():\n"
        "    yield b'half of it'\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "whole._put(Path(sys.argv[1]), parts(), whole.SHARED, durable=False)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(file)], timeout=30, check=False)
    assert ended.returncode == -9
    assert file.read_bytes() == b"old"
    (left,) = (path.name for path in tmp_path.iterdir() if path != file)
    assert meant_for(left) == "f.png"
    assert meant_for("f.png") == "f.png"
