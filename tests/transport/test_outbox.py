"""The outbox against damage, a full disk and power cuts."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from inspection.errors import StoreError
from transport.records.entry import Entry
from transport.records.outbox import Outbox


def entry(number: int, size: int = 20) -> Entry:
    return Entry(f"r{number}", "linegate/s/l/x/record", b"{%s}" % (b"x" * size), 1000.0 + number)


def ids(outbox: Outbox, limit: int = 1000) -> list[str]:
    return [row.entry.id for row in outbox.after(0, limit)]


def test_rows_come_back_in_order_after_a_restart_and_once_each(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "o")
    outbox.add([entry(1), entry(2)])
    outbox.add([entry(2), entry(3)])
    outbox.close()
    again = Outbox(tmp_path / "o")
    assert ids(again) == ["r1", "r2", "r3"]
    assert again.depth == 3
    again.remove(again.after(0, 2))
    assert (ids(again), again.depth, again.oldest_utc()) == (["r3"], 1, 1003.0)
    again.close()


def fill(outbox: Outbox) -> int:
    """Add one by one until there is no room; how many went in."""
    for number in range(1000):
        try:
            outbox.add([entry(number, 3000)])
        except StoreError:
            return number
    raise AssertionError("never full")


@pytest.mark.parametrize("column", ["body", "topic", "id", "utc", "crc"])
def test_a_changed_row_is_put_aside_and_the_others_are_kept(tmp_path: Path, column: str) -> None:
    outbox = Outbox(tmp_path / "o")
    outbox.add([entry(n) for n in range(5)])
    outbox.close()
    with sqlite3.connect(tmp_path / "o") as db:
        db.execute(f"UPDATE records SET {column} = 7 WHERE n = 3")
    db.close()
    again = Outbox(tmp_path / "o")
    assert ids(again) == ["r0", "r1", "r3", "r4"]
    assert (again.damaged, again.depth) == (1, 4)
    again.close()


@pytest.mark.parametrize("damage", ["not a database", "a page of zeros"])
def test_a_damaged_file_is_moved_aside_and_its_sound_rows_go_on_in_a_new_one(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "o"
    outbox = Outbox(path)
    outbox.add([entry(n, 900) for n in range(100)])
    outbox.close()
    data = bytearray(path.read_bytes())
    data[:100] = b"x" * 100 if damage == "not a database" else data[:100]
    data[4096 : 4096 * 3] = bytes(4096 * 2)
    path.write_bytes(data)
    again = Outbox(path)
    again.add([entry(500)])
    assert ids(again) == [*(f"r{n}" for n in range(100)), "r500"]
    assert (again.damaged, again.depth) == (1, 101)
    assert list(tmp_path.glob("o.damaged-*"))
    again.close()


def test_a_full_outbox_says_so_keeps_all_it_has_and_takes_more_once_there_is_room(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "o", max_bytes=2**18)
    kept = fill(outbox)
    with pytest.raises(StoreError, match="full"):
        outbox.add([entry(n, 3000) for n in range(kept, kept + 50)])
    assert ids(outbox) == [f"r{n}" for n in range(kept)]
    assert 0.95 < outbox.used() <= 1
    outbox.remove(outbox.after(0, 10))
    outbox.add([entry(kept, 3000)])
    assert ids(outbox) == [f"r{n}" for n in range(10, kept + 1)]
    assert outbox.depth == kept - 9
    outbox.remove(outbox.after(0, 1000))
    assert outbox.used() < 0.2
    outbox.close()


def test_a_folder_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        Outbox(tmp_path / "file" / "o").add([entry(1)])


WRITER = """
import sys
from pathlib import Path
from transport.records.entry import Entry
from transport.records.outbox import Outbox
outbox, n = Outbox(Path(sys.argv[1])), int(sys.argv[2])
while True:
    outbox.add([Entry(f"r{n + i}", "t", b"{}" * 200, 1.0) for i in range(3)])
    n += 3
    print(n, flush=True)
"""


def test_a_kill_at_any_moment_loses_no_committed_record(tmp_path: Path) -> None:
    committed = 0
    for commits in (1, 2, 7, 23, 40):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "o"), str(committed)], stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            for _ in range(commits):
                child.stdout.readline()
            child.kill()
            said = child.stdout.read().split()  # commits it had told of before the kill arrived
            outbox = Outbox(tmp_path / "o")
            found = ids(outbox, 100_000)
            outbox.close()
        told = max([int(number) for number in said], default=committed + 3 * commits)
        assert found == [f"r{n}" for n in range(len(found))]
        assert len(found) >= told
        committed = len(found)
