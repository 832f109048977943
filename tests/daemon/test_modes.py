"""What linegate writes has the modes that docs/reference/files.md states, whatever the umask."""

import asyncio
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from daemon.archive_store import Store
from daemon.choice import Choice, Shelf, named
from daemon.cli import main
from daemon.control import SOCKET, Control
from daemon.drift import _Learnt, _write
from daemon.journal import Journal
from daemon.lock import held
from inspection import files
from inspection.files import SHARED, STATE, Modes
from tests.daemon.swapping import LEFT, RIGHT, draw_bundle
from transport.records.entry import Entry
from transport.records.outbox import Outbox
from vision.bundle import Thresholds
from vision.cache import write_sealed
from vision.write import revise_bundle


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct, autouse=True)
def mask(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    assert tmp_path.is_dir()
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {one.relative_to(folder).as_posix(): stat.S_IMODE(one.stat().st_mode) for one in folder.rglob("*")}


def wrong(folder: Path, expected: Modes) -> dict[str, str]:
    """What in `folder` has other modes. Nothing but sockets may have a third one."""
    assert any(folder.rglob("*"))
    return {
        name: oct(mode)
        for name, mode in modes(folder).items()
        if mode != (expected.folder if (folder / name).is_dir() else expected.file)
    }


def test_the_state_directory_is_closed_to_others(tmp_path: Path) -> None:
    state = tmp_path / "var" / "state"
    bundle = draw_bundle(tmp_path / "bundle", LEFT)
    with held(state):
        outbox = Outbox(state / "outbox.sqlite")
        outbox.add([Entry("r1", "t", b"{}", 1.0)])
        store = Store(state / "archive", 1 << 20)
        store.write("press/2026-01-01/0123abcd-press-1-top.png", np.zeros((8, 8), np.uint8))
        _write(state / "drift.json", _Learnt(pictures={}, scores={}))
        write_sealed(state / "cache" / "graph-1", b"x")
        here = named(bundle, bundle.path)
        Shelf(state).choose(Choice(configured=here, live=here))
        Shelf(state).keep(bundle)
        journal = Journal(state / "shadow.jsonl")
        journal.note({"a": 1})
        journal.flush()
        (state / "of-a-library").write_text("")
        assert {"outbox.sqlite", "outbox.sqlite-wal", "outbox.sqlite-shm", "lock", "model.json.copy"} <= modes(
            state
        ).keys()
        assert not wrong(tmp_path / "var", STATE)
        outbox.close()


def test_a_damaged_outbox_and_one_of_an_earlier_version_are_closed_to_others_too(tmp_path: Path) -> None:
    path = tmp_path / "state" / "outbox.sqlite"
    path.parent.mkdir()
    path.parent.chmod(STATE.folder)
    path.write_bytes(b"no database" * 1000)
    path.chmod(0o644)
    outbox = Outbox(path)
    outbox.add([Entry("r1", "t", b"{}", 1.0)])
    assert any("damaged" in name for name in modes(path.parent))
    assert not wrong(path.parent, STATE)
    outbox.close()


async def test_only_its_own_user_may_command_the_daemon(tmp_path: Path) -> None:
    running = asyncio.create_task(Control(tmp_path, {}).run())
    async with asyncio.timeout(10):
        while not (tmp_path / SOCKET).exists() or modes(tmp_path)[SOCKET] != 0o600:
            await asyncio.sleep(0.001)
    running.cancel()
    await asyncio.wait([running])


def test_everybody_may_read_a_bundle(tmp_path: Path) -> None:
    bundle = draw_bundle(tmp_path / "models" / "one", RIGHT)
    (bundle.path / "README.md").write_text("made by people")
    again = revise_bundle(bundle, bundle.path, thresholds=Thresholds(0.1, 0.9), metrics={}, golden=[])
    assert (again.path / "README.md").read_text() == "made by people"
    assert not wrong(bundle.path, SHARED)
    assert stat.S_IMODE(bundle.path.stat().st_mode) == SHARED.folder


def test_everybody_may_read_what_a_command_writes_and_the_umask_stays(
    tmp_path: Path, mask: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["schema", "--out", str(tmp_path / "schema.json")]) == 0
    assert not wrong(tmp_path, SHARED)
    before = os.umask(mask)
    assert before == mask


def test_a_folder_that_is_there_keeps_the_mode_that_somebody_gave_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o2770)
    files.make_folder(tmp_path / "one" / "two", STATE)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o2770
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) & 0o777 == 0o750
