import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.lock import held, probe
from inspection.errors import ConfigError, UnavailableError


def test_a_second_daemon_on_a_state_directory_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    with (
        held(tmp_path / "state"),
        pytest.raises(UnavailableError, match=r"state_dir: .* in use by another linegate \(process \d+\)"),
    ):
        held(tmp_path / "state").__enter__()


def test_the_directory_is_free_again_afterwards(tmp_path: Path) -> None:
    with held(tmp_path):
        pass
    with held(tmp_path):
        pass


def _file(folder: Path) -> Path:
    (folder / "file").touch()
    return folder / "file"


def _in_a_file(folder: Path) -> Path:
    return _file(folder) / "state"


def _circle(folder: Path) -> Path:
    (folder / "circle").symlink_to("circle")
    return folder / "circle" / "state"


def _nowhere(folder: Path) -> Path:
    (folder / "gone").symlink_to("nowhere")
    return folder / "gone"


def _long(folder: Path) -> Path:
    return folder / ("x" * 300)


@pytest.mark.parametrize("place", [_file, _in_a_file, _circle, _nowhere, _long])
def test_where_no_directory_can_be_the_start_and_the_check_end_with_a_configuration_error(
    place: Callable[[Path], Path], tmp_path: Path
) -> None:
    state_dir = place(tmp_path)

    for use in (lambda: held(state_dir).__enter__(), lambda: probe(state_dir)):
        with pytest.raises(ConfigError, match=r"^state_dir: "):
            use()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EIO])
def test_what_a_mount_or_more_room_mends_is_tried_again(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, "refused")

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(tempfile, "TemporaryDirectory", refuse)
    for use in (lambda: held(tmp_path / "state").__enter__(), lambda: probe(tmp_path / "state")):
        with pytest.raises(UnavailableError, match=r"^state_dir: .*refused"):
            use()


def test_a_place_that_grants_root_everything_but_a_folder_is_found_by_the_check() -> None:
    with pytest.raises((ConfigError, UnavailableError), match=r"^state_dir: /proc/linegate cannot be used"):
        probe(Path("/proc/linegate"))


def test_a_look_says_who_holds_the_directory_and_leaves_nothing(tmp_path: Path) -> None:
    assert probe(tmp_path / "state") == ""
    assert not list(tmp_path.iterdir())
    with held(tmp_path / "state"):
        before = sorted(tmp_path.rglob("*"))
        assert probe(tmp_path / "state").isdigit()
        assert sorted(tmp_path.rglob("*")) == before
    assert probe(tmp_path / "state") == ""


def test_a_full_disk_does_not_keep_the_lock_from_being_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with held(tmp_path), pytest.raises(UnavailableError, match="process unknown"):
        held(tmp_path).__enter__()
