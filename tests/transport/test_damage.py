"""Damage anywhere in the outbox costs the damaged rows at most, and never the daemon."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from inspection.errors import StoreError
from tests.transport import damage
from transport.records import outbox as outbox_module
from transport.records.entry import Entry
from transport.records.outbox import Outbox


def test_three_hundred_damages_leave_nothing_stuck_wrong_or_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "_REPAIR_PAUSE_S", 0.0)
    tally = damage.run(300, seed=1)
    assert sum(tally.kinds.values()) == 300
    assert tally.replaced > 20, "damage that SQLite itself finds is among them"
    assert not tally.wrong


def entry(number: int, size: int = 900) -> Entry:
    return Entry(f"r{number}", "linegate/s/l/x/record", b"{%s}" % (b"x" * size), 1000.0 + number / 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An outbox with a hundred rows."""
    path = tmp_path / "o"
    outbox = Outbox(path)
    outbox.add([entry(number) for number in range(100)])
    outbox.close()
    return path


def ids(outbox: Outbox) -> list[str]:
    return [row.entry.id for row in outbox.after(0, 1000)]


ALL = [f"r{number}" for number in range(100)]


@pytest.mark.parametrize("text", [b"linegate/s/l/x/record", b"r50"])
def test_a_flipped_bit_in_a_rows_text_costs_that_row_and_stops_no_other(path: Path, text: bytes) -> None:
    data = bytearray(path.read_bytes())
    at = data.index(b"r50linegate/s/l/x/record") + (3 if text.startswith(b"line") else 0)
    data[at + 1] ^= 0x80
    path.write_bytes(data)
    outbox = Outbox(path)
    assert ids(outbox) == [name for name in ALL if name != "r50"]
    assert outbox.damaged == 1
    outbox.close()


def test_a_schema_that_is_no_utf_8_costs_no_row(path: Path) -> None:
    data = bytearray(path.read_bytes())
    at = data.index(b"CREATE TABLE records") + len(b"CREATE TABLE rec")
    data[at : at + 3] = b"\xe8\x9a\xff"
    path.write_bytes(data)
    outbox = Outbox(path)
    assert ids(outbox) == ALL
    assert list(path.parent.glob("o.damaged-*"))
    outbox.close()


@pytest.mark.parametrize("at", [0, 16, 18, 20, 28, 32, 40, 44, 56, 59])
def test_a_damaged_file_header_costs_no_row(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x55
    path.write_bytes(data)
    outbox = Outbox(path)
    outbox.add([entry(100)])
    assert ids(outbox) == [*ALL, "r100"]
    outbox.close()


def test_rows_behind_a_flipped_bit_in_the_write_ahead_log_are_not_dropped(tmp_path: Path) -> None:
    living = Outbox(tmp_path / "o")
    for number in range(50):
        living.add([entry(number)])
    shutil.copytree(tmp_path, tmp_path.parent / "killed")
    living.close()
    log = tmp_path.parent / "killed" / "o-wal"
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 1
    log.write_bytes(data)
    outbox = Outbox(tmp_path.parent / "killed" / "o")
    found = ids(outbox)
    assert found == [f"r{number}" for number in range(50)]
    outbox.close()


def test_the_log_of_a_file_that_was_emptied_is_not_dropped(tmp_path: Path) -> None:
    living = Outbox(tmp_path / "o")
    living.add([entry(number) for number in range(50)])
    shutil.copytree(tmp_path, tmp_path.parent / "emptied")
    living.close()
    path = tmp_path.parent / "emptied" / "o"
    path.write_bytes(b"")
    outbox = Outbox(path)
    assert ids(outbox) == [f"r{number}" for number in range(50)]
    outbox.close()


def test_a_damaged_file_that_cannot_be_renamed_is_copied_aside(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(path.read_bytes())
    data[4096] ^= 0xFF
    path.write_bytes(data)

    def refuse(_file: Path, _to: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "rename", refuse)
    outbox = Outbox(path)
    assert ids(outbox) == ALL
    assert [file.read_bytes() for file in path.parent.glob("o.damaged-*")] == [bytes(data)]
    outbox.close()


def test_a_damaged_file_that_cannot_be_moved_at_all_is_left_and_a_new_one_used_beside_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytearray(path.read_bytes())
    data[4096] ^= 0xFF
    path.write_bytes(data)
    remove = Path.unlink

    def refuse(file: Path, *_more: object, missing_ok: bool = False) -> None:
        if file == path:
            raise PermissionError(1, "Operation not permitted")
        remove(file, missing_ok=missing_ok)

    with monkeypatch.context() as immovable:
        immovable.setattr(Path, "rename", refuse)
        immovable.setattr(Path, "unlink", refuse)
        outbox = Outbox(path)
        assert ids(outbox) == ALL
        outbox.remove(outbox.after(0, 99))
        outbox.add([entry(100)])
        assert ids(outbox) == ["r99", "r100"]
        outbox.close()
        assert path.read_bytes() == bytes(data)
    later = Outbox(path)  # its place can be taken again: nothing that waited beside it is lost
    assert {"r99", "r100"} <= set(ids(later))
    assert sorted(file.name for file in path.parent.iterdir() if "damaged" not in file.name) == ["o", "o-shm", "o-wal"]
    later.close()


def test_a_kill_between_the_steps_of_a_repair_loses_no_row(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(path.read_bytes())
    data[4096] ^= 0xFF
    path.write_bytes(data)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr(Path, "replace", killed)  # the damaged file is aside, the new one is not in its place
        with pytest.raises(KeyboardInterrupt):
            Outbox(path).after(0, 1)
    assert not path.exists()
    outbox = Outbox(path)
    assert ids(outbox) == ALL
    outbox.close()


@pytest.mark.parametrize("part", ["", "-wal", "-shm"])
def test_a_folder_in_the_place_of_a_file_is_moved_aside(tmp_path: Path, part: str) -> None:
    Path(f"{tmp_path / 'o'}{part}").mkdir()
    outbox = Outbox(tmp_path / "o")
    outbox.add([entry(1)])
    assert ids(outbox) == ["r1"]
    outbox.close()


def test_damage_that_comes_while_the_file_is_open_costs_no_sound_row(path: Path) -> None:
    outbox = Outbox(path)
    first = outbox.after(0, 10)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(bytes(4096))  # the root of the table
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version=0")  # makes the open connection read its pages again
    other.close()
    found: list[str] = []
    for _ in range(3):
        try:
            found = [row.entry.id for row in outbox.after(first[-1].n, 1000)]
            break
        except StoreError:
            continue
    assert found == ALL[10:]
    outbox.remove(first)
    outbox.add([entry(100)])
    assert ids(outbox) == [*ALL[10:], "r100"]
    outbox.close()
