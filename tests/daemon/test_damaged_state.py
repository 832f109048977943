"""Damage in any file that the daemon keeps costs at most what that file holds, and never the daemon."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.choice import FILE, Choice, Shelf, at_start, named
from daemon.control import SOCKET, Control
from daemon.drift import FILE as DRIFT
from daemon.drift import _Learnt, _read, _write
from daemon.journal import Journal, read
from daemon.lock import held
from tests.daemon.swapping import LEFT, RIGHT, configured, draw_bundle
from vision.bundle import load_bundle
from vision.cache import read_sealed, write_sealed
from vision.drift import ScoreReference

CASES = 60


def damages(whole: bytes, seed: int) -> list[bytes]:
    """Flipped bits, blocks of noise and zeros, lost ends, and nothing at all."""
    rng = random.Random(seed)
    told = [b"", b"\0" * len(whole), b"\xff\xfe" + whole]
    for _ in range(CASES):
        data = bytearray(whole)
        at = rng.randrange(len(data))
        match rng.randrange(5):
            case 0:
                data[at : at + 16] = rng.randbytes(16)
            case 1:
                del data[at:]
            case _:
                data[at] ^= 1 << rng.randrange(8)
        told.append(bytes(data))
    return [damaged for damaged in told if damaged != whole]


@pytest.mark.parametrize("which", [FILE, f"{FILE}.copy"])
def test_the_promoted_model_stays_live_where_one_file_of_the_choice_is_damaged(tmp_path: Path, which: str) -> None:
    first, second = draw_bundle(tmp_path / "first", LEFT), draw_bundle(tmp_path / "second", RIGHT)
    config = configured(tmp_path, first.path)
    shelf = Shelf(config.state_dir)
    shelf.keep(second)
    here = named(load_bundle(first.path), first.path)
    chosen = Choice(configured=here, live=named(second, second.path), before=here)
    shelf.choose(chosen)
    file = config.state_dir / which
    whole = file.read_bytes()
    for damaged in damages(whole, seed=1):
        file.write_bytes(damaged)
        assert Shelf(config.state_dir).choice() == chosen, damaged
        assert file.read_bytes() == whole, "it is mended"
    file.write_bytes(b"{")
    assert at_start(config).bundle.hash == second.hash


def test_a_choice_that_was_deleted_is_not_brought_back(tmp_path: Path) -> None:
    first = draw_bundle(tmp_path / "first", LEFT)
    config = configured(tmp_path, first.path)
    here = named(first, first.path)
    Shelf(config.state_dir).choose(Choice(configured=here, live=here))
    (config.state_dir / FILE).unlink()
    assert Shelf(config.state_dir).choice() is None


def test_damaged_drift_references_are_learnt_anew_and_no_wrong_ones_used(tmp_path: Path) -> None:
    reference = ScoreReference(scores=300, edges=(0.1, 0.25), shares=(0.3, 0.3, 0.4))
    learnt = _Learnt(pictures={}, scores={"press": ("0" * 64, reference)})
    _write(tmp_path / DRIFT, learnt)
    whole = (tmp_path / DRIFT).read_bytes()
    nothing = _Learnt(pictures={}, scores={})
    for damaged in damages(whole, seed=2):
        (tmp_path / DRIFT).write_bytes(damaged)
        assert _read(tmp_path / DRIFT) in (learnt, nothing), damaged


def test_a_damaged_cache_is_not_used(tmp_path: Path) -> None:
    write_sealed(tmp_path / "graph-1", b"a network" * 20)
    whole = (tmp_path / "graph-1").read_bytes()
    for damaged in damages(whole, seed=3):
        (tmp_path / "graph-1").write_bytes(damaged)
        assert read_sealed(tmp_path / "graph-1") is None


def test_damaged_rows_of_a_journal_are_passed_over(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    for n in range(20):
        journal.note({"part": n, "text": "Größe"})
    journal.flush()
    whole = (tmp_path / "j").read_bytes()
    for damaged in damages(whole, seed=4):
        (tmp_path / "j").write_bytes(damaged)
        assert all(isinstance(row, dict) for row in read(tmp_path / "j"))


def test_what_stands_in_the_lock_file_does_not_matter(tmp_path: Path) -> None:
    for content in (b"", b"\xff" * 5000, b"4711\n"):
        (tmp_path / "lock").write_bytes(content)
        with held(tmp_path):
            pass


def test_a_full_disk_does_not_refuse_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    with held(tmp_path):
        pass


async def test_a_socket_that_cannot_be_made_costs_commands_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("daemon.control._PAUSE_S", 0.01)
    (tmp_path / SOCKET).mkdir()
    running = asyncio.create_task(Control(tmp_path, {}).run())
    try:
        await until(lambda: "takes no commands" in caplog.text)
        (tmp_path / SOCKET).rmdir()
        await until((tmp_path / SOCKET).is_socket)
    finally:
        running.cancel()
        await asyncio.wait([running])


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.005)
