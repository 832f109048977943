"""Damages copies of an outbox at random, and tells what came of it: `python -m tests.transport.damage CASES [SEED]`.

Each case changes one place of one file. The outbox must then open, give back every row that the damage did not touch
and none that differs from what was stored, take new rows, and empty itself.
"""

import contextlib
import logging
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import transport.records.outbox
from inspection.errors import StoreError
from transport.records.entry import Entry, Row
from transport.records.outbox import Outbox
from transport.records.salvage import PAGE, all_rows

NAME = "outbox.sqlite"
TOPICS = tuple(f"linegate/demo/line1/station{n}/record" for n in range(3))
FRAME = PAGE + 24


@dataclass
class Base:
    """An outbox at rest, or as a killed process leaves it, and what is stored in it."""

    folder: Path
    rows: dict[str, Row]
    ever: dict[str, Entry]  # also what was delivered and deleted


@dataclass
class Tally:
    """What came of all cases."""

    kinds: Counter[str] = field(default_factory=Counter)
    replaced: int = 0
    lost: int = 0
    again: int = 0  # delivered before, and found once more
    wrong: list[str] = field(default_factory=list)


def make_base(folder: Path, seed: int, *, killed: bool) -> Base:
    """Rows of all sizes: several on a page, one on several pages, waiting, set aside, and deleted again."""
    rng = random.Random(seed)
    outbox = Outbox(folder / "made" / NAME)
    entries = [
        Entry(
            f"5e551011-station{n % 3}-{n}",
            TOPICS[n % 3],
            b'{"id":"%d","body":"%s"}' % (n, rng.randbytes(rng.choice((20, 300, 700, 2500, 9000))).hex().encode()),
            rng.choice((1.7e9 + n, 1.7e9 + n / 7)),
        )
        for n in range(90)
    ]
    for start in range(0, 60, 7):
        outbox.add(entries[start : start + 7])
    outbox.remove(outbox.after(0, 60)[::3])
    if killed:
        outbox.close()
    outbox.add(entries[63:80])
    outbox.set_aside(outbox.after(0, 60)[5:12])
    outbox.add(entries[80:])
    outbox.remove(outbox.after(0, 60)[::9])
    rows = {row.entry.id: row for row in [*outbox.after(0, 1000), *outbox.aside_after(0, 1000)]}
    if not killed:
        outbox.close()
    shutil.copytree(folder / "made", folder / "base")
    outbox.close()
    return Base(folder / "base", rows, {entry.id: entry for entry in entries})


def one(base: Base, rng: random.Random, scratch: Path, tally: Tally) -> str:
    """One case; what went wrong, or an empty text."""
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(base.folder, scratch)
    files = [file for file in sorted(scratch.iterdir()) if file.stat().st_size]
    file = rng.choices(files, [{"": 8, "-wal": 8, "-shm": 1}[f.name.removeprefix(NAME)] for f in files])[0]
    kind, change = rng.choice(KINDS)
    name = f"{kind} in {file.name.removeprefix(NAME) or 'the file'}"
    data = bytearray(file.read_bytes())
    touched = change(data, rng, 0 if file.name == NAME else 32)
    tally.kinds[name] += 1
    if kind == "a bit":
        file.write_bytes(data)
        required, most_lost = set(base.rows), 1
    else:
        blank = bytearray(file.read_bytes())
        size = PAGE if file.name == NAME else FRAME
        skip = 0 if file.name == NAME else 32
        for place in touched:
            start = max(0, (place - skip) // size) * size + skip
            blank[start : start + size] = bytes(len(blank[start : start + size]))
        file.write_bytes(blank)
        required, most_lost = {row.entry.id for row in all_rows(scratch / NAME)}, 0
        file.write_bytes(data)
    wrong = check(base, scratch / NAME, required, most_lost, tally)
    return wrong and f"{name} at {touched[:1]}: {wrong}"


def check(base: Base, path: Path, required: set[str], most_lost: int, tally: Tally) -> str:
    new = [Entry(f"new-{n}", TOPICS[0], b"{}" * 600, 1.8e9) for n in range(3)]
    outbox = Outbox(path)
    found: list[Row] = []
    try:
        _insist(lambda: outbox.add(new))
        _insist(lambda: found.extend([*outbox.after(0, 1000), *outbox.aside_after(0, 1000)]))
        _insist(lambda: outbox.remove(found))
        left = outbox.depth, outbox.aside
        tally.replaced += any(path.parent.glob("*.damaged-*"))
    finally:
        outbox.close()
    known = base.ever | {entry.id: entry for entry in new}
    if any(known.get(row.entry.id) != row.entry for row in found):
        return "a row that was never stored"
    ids = {row.entry.id for row in found}
    lost = (base.rows.keys() | {entry.id for entry in new}) - ids
    tally.again += len(ids & base.ever.keys() - base.rows.keys())
    tally.lost += len(lost)
    if len(lost & (required | {entry.id for entry in new})) > most_lost:
        return f"lost {sorted(lost)[:5]} of {len(lost)}"
    again = Outbox(path)
    try:
        rest = again.after(0, 10), again.aside_after(0, 10)
    finally:
        again.close()
    return "" if left == (0, 0) and rest == ([], []) else f"left {left} {[row.n for rows in rest for row in rows]}"


def _insist(call: Callable[[], None]) -> None:
    """The outbox may refuse while it replaces a file; who calls it tries again."""
    for _ in range(3):
        with contextlib.suppress(StoreError):
            return call()
    return call()


def _place(data: bytearray, rng: random.Random, skip: int) -> int:
    """Anywhere, or where a change does most: the head of the file, or of one of its pages."""
    size = PAGE if not skip else FRAME
    page = rng.randrange(max(1, len(data) // size)) * size + skip
    where = rng.choice((0, 1, 2, 3))
    if where == 0:
        return rng.randrange(len(data))
    if where == 1:
        return min(rng.randrange(600), len(data) - 1)
    return min(page + rng.randrange(40 if where == 2 else 300), len(data) - 1)


def _bit(data: bytearray, rng: random.Random, skip: int) -> list[int]:
    place = _place(data, rng, skip)
    data[place] ^= 1 << rng.randrange(8)
    return [place]


def _byte(data: bytearray, rng: random.Random, skip: int) -> list[int]:
    place = _place(data, rng, skip)
    data[place] = rng.randrange(256)
    return [place]


def _block(data: bytearray, rng: random.Random, skip: int) -> list[int]:
    place, size = _place(data, rng, skip), rng.choice((8, 64, 512, PAGE, 3 * PAGE))
    data[place : place + size] = rng.choice((bytes, rng.randbytes))(len(data[place : place + size]))
    return list(range(place, min(place + size, len(data))))


def _cut(data: bytearray, rng: random.Random, skip: int) -> list[int]:
    place, size = _place(data, rng, skip), len(data)
    del data[place:]
    return list(range(place, size))


def _swap(data: bytearray, rng: random.Random, skip: int) -> list[int]:
    size = PAGE if not skip else FRAME
    first, second = (rng.randrange(max(1, len(data) // size)) * size + skip for _ in range(2))
    one, other = data[first : first + size], data[second : second + size]
    if len(one) == len(other):
        data[first : first + size], data[second : second + size] = other, one
    return [first, second]


def _junk(data: bytearray, rng: random.Random, _skip: int) -> list[int]:
    data += rng.randbytes(rng.choice((1, 100, PAGE, 2 * PAGE)))
    return []


KINDS = [("a bit", _bit)] * 6 + [
    ("a byte", _byte), ("a block", _block), ("a block", _block), ("an end", _cut),
    ("two pages", _swap), ("junk", _junk),
]  # fmt: skip


def run(cases: int, seed: int) -> Tally:
    """All cases, on an outbox at rest and on one of a killed process."""
    transport.records.outbox._REPAIR_PAUSE_S = 0.0
    memory = Path("/dev/shm")  # nothing here waits for a disk
    with tempfile.TemporaryDirectory(prefix="linegate-damage-", dir=memory if memory.is_dir() else None) as folder:
        return _run(cases, seed, Path(folder))


def _run(cases: int, seed: int, folder: Path) -> Tally:
    bases = [make_base(folder / f"base{killed}", seed, killed=killed) for killed in (False, True)]
    tally = Tally()
    for case in range(cases):
        rng = random.Random(f"{seed}-{case}")
        try:
            wrong = one(bases[case % 2], rng, folder / "case", tally)
        except StoreError as error:
            wrong = f"stuck: {error}"
        except Exception as error:  # noqa: BLE001 - whatever escapes would end the daemon
            wrong = f"ended by {error!r}"
        if wrong:
            tally.wrong.append(f"case {case}: {wrong}")
    return tally


def main() -> None:
    """Print the tally; exit code 1 where anything went wrong."""
    logging.disable(logging.CRITICAL)
    cases, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    tally = run(cases, seed)
    lines = [f"{count:6d} {kind}" for kind, count in sorted(tally.kinds.items())]
    lines.append(
        f"{cases} cases, {tally.replaced} files replaced, {tally.lost} rows lost, "
        f"{tally.again} delivered rows found again, {len(tally.wrong)} wrong"
    )
    sys.stdout.write("\n".join([*lines, *tally.wrong[:20]]) + "\n")
    sys.exit(bool(tally.wrong))


if __name__ == "__main__":
    main()
