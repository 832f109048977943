"""Pictures of judged parts are on disk as the camera gave them, and never cost a record."""

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from camera.picture import read_picture, write_png
from daemon.archive import Archive, ArchiveConfig, ArchivingKeeper
from daemon.archive_store import Store
from inspection import clock
from inspection.errors import StoreError
from inspection.frame import Frame, Pixels, digest
from inspection.part import Part, PartId
from inspection.probe import Probe
from inspection.record import FrameFacts, Record
from inspection.verdict import Outcome, Reason, Verdict

PASS, FAIL = (Outcome.PASS, Reason.SCORE), (Outcome.FAIL, Reason.SCORE)
UNCERTAIN, NO_VERDICT = (Outcome.FAIL, Reason.UNCERTAIN), (Outcome.NO_VERDICT, Reason.OVERLOAD)


@dataclass
class Kept(Probe):
    """The station's keeper and the probe: what they were given."""

    records: list[Record] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    pictures: int = 0
    disk: bool = True

    def keep(self, record: Record) -> None:
        self.records.append(record)

    async def kept(self, record: Record) -> None:
        if not self.disk:
            raise StoreError("disk full")
        self.records.append(record)

    def picture_kept(self, station: str, archive_bytes: int) -> None:
        self.pictures += 1

    def picture_lost(self, station: str, why: str) -> None:
        self.lost.append(why)


@dataclass
class Bench:
    heard: Kept
    archive: Archive
    keeper: ArchivingKeeper

    async def close(self) -> None:
        async with asyncio.timeout(10):
            await self.keeper.close()
            await self.archive.close()


def noise(bit_depth: int = 8, *, seed: int = 0, color: bool = False) -> Pixels:
    shape = (30, 40, 3) if color else (30, 40)
    values = np.random.default_rng(seed).integers(0, 1 << bit_depth, shape)
    return values.astype(np.uint8) if bit_depth == 8 else values.astype(np.uint16)


def record(seq: int, said: tuple[Outcome, Reason], *cameras: str) -> Record:
    part = Part("press", PartId(str(seq)), seq, 0.0, 1.0)
    frames = tuple(FrameFacts(camera, seq, 0.0) for camera in cameras or ("top",))
    verdict = Verdict(part, *said, 0.5, 0.5, "abc")
    return Record(f"0123abcd-press-{seq}", "0123abcd", verdict, frames, clock.utc(), said=True)


Build = Callable[..., Bench]


@pytest.fixture
def bench(tmp_path: Path) -> Build:
    def build(seen: Mapping[str, Frame | None], **config: object) -> Bench:
        heard = Kept()
        settings = ArchiveConfig.model_validate({"folder": tmp_path / "archive", **config})
        archive = Archive(settings, heard)
        cameras = {name: lambda _number, frame=frame: frame for name, frame in seen.items()}
        return Bench(heard, archive, ArchivingKeeper(heard, archive, cameras))

    return build


def frame(pixels: Pixels, bit_depth: int = 8) -> Frame:
    return Frame("top", 1, pixels, 0.0, bit_depth)


@pytest.mark.parametrize(("bit_depth", "color"), [(8, False), (8, True), (12, False), (16, True)])
async def test_a_picture_is_kept_bit_for_bit_and_its_record_tells_where(
    bench: Build, tmp_path: Path, bit_depth: int, color: bool
) -> None:
    pixels = noise(bit_depth, color=color)
    line = bench({"top": frame(pixels, bit_depth)})
    line.keeper.keep(record(1, FAIL))
    await line.close()
    (kept,) = line.heard.records
    (facts,) = kept.frames
    assert kept.archive == str(tmp_path / "archive")
    assert facts.picture is not None
    again, _ = read_picture(Path(kept.archive) / facts.picture.file)
    assert np.array_equal(again, pixels)
    assert again.dtype == pixels.dtype
    assert (facts.picture.sha256, facts.picture.bit_depth) == (digest(again), bit_depth)
    assert line.heard.pictures == 1


@pytest.mark.parametrize(
    ("outcomes", "kept"),
    [
        ("fail", [FAIL, UNCERTAIN]),
        ("uncertain", [UNCERTAIN]),
        ("all", [PASS, FAIL, UNCERTAIN, NO_VERDICT]),
        ("none", []),
    ],
)
async def test_only_pictures_of_the_wanted_outcomes_are_kept(
    bench: Build, outcomes: str, kept: list[tuple[Outcome, Reason]]
) -> None:
    line = bench({"top": frame(noise())}, outcomes=outcomes)
    said = [PASS, FAIL, UNCERTAIN, NO_VERDICT]
    for seq, verdict in enumerate(said):
        line.keeper.keep(record(seq, verdict))
    await line.close()
    assert [r.verdict.part.seq for r in line.heard.records] == [0, 1, 2, 3], "records stay in order"
    found = [(r.verdict.outcome, r.verdict.reason) for r in line.heard.records if r.archive]
    assert found == kept
    assert line.heard.pictures == len(kept)


async def test_every_camera_of_a_part_has_its_picture(bench: Build) -> None:
    left, right = noise(seed=1), noise(seed=2)
    line = bench({"left": frame(left), "right": frame(right)})
    line.keeper.keep(record(1, FAIL, "left", "right"))
    await line.close()
    files = [facts.picture for facts in line.heard.records[0].frames]
    assert [found.sha256 for found in files if found] == [digest(left), digest(right)]


async def test_a_picture_that_is_gone_from_memory_costs_no_record(bench: Build) -> None:
    line = bench({"top": None})
    line.keeper.keep(record(1, FAIL))
    await line.close()
    assert line.heard.records[0].archive == ""
    assert line.heard.lost == ["overwritten"]


async def test_a_disk_that_fails_costs_no_record(bench: Build, tmp_path: Path) -> None:
    (tmp_path / "archive").write_text("a file where the folder should be")
    line = bench({"top": frame(noise())})
    line.keeper.keep(record(1, FAIL))
    await line.close()
    assert len(line.heard.records) == 1
    assert line.heard.lost == ["disk"]


async def test_more_pictures_than_memory_may_hold_are_counted(bench: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.archive._MOST_WAITING_BYTES", 2500)
    line = bench({"top": frame(noise())})
    for seq in range(4):
        line.keeper.keep(record(seq, FAIL))
    await line.close()
    assert [bool(r.archive) for r in line.heard.records] == [True, True, False, False]
    assert line.heard.lost == ["overload", "overload"]


async def test_a_record_that_is_committed_first_names_its_picture(bench: Build) -> None:
    line = bench({"top": frame(noise())})
    await line.keeper.kept(record(1, FAIL))
    assert line.heard.records[0].archive
    line.heard.disk = False
    with pytest.raises(StoreError):
        await line.keeper.kept(record(2, FAIL))
    await line.close()
    assert line.heard.pictures == 1


async def test_a_disk_that_hangs_does_not_hold_up_the_end(
    bench: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.archive._PATIENCE_S", 0.05)
    line = bench({"top": frame(noise())})
    first = record(1, FAIL)
    line.keeper.keep(first)
    async with asyncio.timeout(10):
        while not line.heard.pictures:
            await asyncio.sleep(0.001)
    (day,) = (tmp_path / "archive" / "press").iterdir()
    stuck = day / f"0123abcd-press-2-top.png.{os.getpid()}.part"
    os.mkfifo(stuck)  # to write into it waits for a reader
    for seq in (2, 3):
        line.keeper.keep(replace(record(seq, FAIL), utc=first.utc))
    await line.close()
    stuck.read_bytes()
    assert len(line.heard.records) == 3
    assert line.heard.lost == ["shutdown", "shutdown"]


def test_the_oldest_pictures_go_and_nothing_else(tmp_path: Path) -> None:
    foreign = [tmp_path / "press" / "2026-01-01" / "holiday.png", tmp_path / "notes.png"]
    foreign[0].parent.mkdir(parents=True)
    for file in foreign:
        write_png(file, noise())
    names = [f"press/2026-01-0{day}/0123abcd-press-{day}-top.png" for day in range(1, 7)]
    size = foreign[0].stat().st_size
    Store(tmp_path, 100 * size).write(names[0], noise())
    (tmp_path / names[1]).parent.mkdir()
    (tmp_path / f"{names[1]}.4711.part").write_text("of a process that was killed")
    store = Store(tmp_path, 3 * size)
    for seed, name in enumerate(names[1:]):
        assert store.write(name, noise(seed=seed)) <= 3 * size
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert left == sorted(["notes.png", "press/2026-01-01/holiday.png", *names[-len(left) + 2 :]])
    assert 2 <= len(left) - 2 <= 3
    assert not (tmp_path / names[1]).parent.exists(), "an empty day goes with its last picture"


def names(folder: Path) -> list[str]:
    return sorted(file.stem for file in folder.glob("press/*/*.png"))


def picture(seq: int) -> str:
    return f"press/2026-01-01/0123abcd-press-{seq}-top.png"


def test_pictures_written_after_the_clock_was_set_back_are_the_newest_after_a_restart(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path, 1 << 30)
    store.write(picture(1), noise(seed=1))
    os.utime(tmp_path / picture(1), (4_070_908_800, 4_070_908_800))
    store = Store(tmp_path, 1 << 30)
    for seq in (2, 3):
        store.write(picture(seq), noise(seed=seq))
    size = (tmp_path / picture(3)).stat().st_size
    Store(tmp_path, 2 * size + size // 2).write(picture(4), noise(seed=4))
    assert names(tmp_path) == ["0123abcd-press-3-top", "0123abcd-press-4-top"]


def test_the_archive_gives_way_before_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = 10 << 20
    monkeypatch.setattr("daemon.archive_store._free", lambda _folder: free)
    store = Store(tmp_path, 1 << 30, min_free=1 << 20)
    for seq in range(1, 5):
        store.write(picture(seq), noise(seed=seq))
    size = (tmp_path / picture(1)).stat().st_size
    total = 4 * size

    def left(_folder: Path) -> int:
        return (1 << 20) - 2 * size + total - sum(file.stat().st_size for file in tmp_path.glob("press/*/*.png"))

    monkeypatch.setattr("daemon.archive_store._free", left)
    store.give_way()
    assert names(tmp_path) == ["0123abcd-press-3-top", "0123abcd-press-4-top"], "the oldest have gone"
    monkeypatch.setattr("daemon.archive_store._free", lambda _folder: 1000)
    with pytest.raises(OSError, match="min_free_mb"):
        store.write(picture(5), noise(seed=5))
    assert names(tmp_path) == []


async def test_the_archive_gives_way_also_while_no_picture_comes(
    bench: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.archive._GIVES_WAY_S", 0.01)
    line = bench({"top": frame(noise())})
    line.keeper.keep(record(1, FAIL))
    async with asyncio.timeout(10):
        while not line.heard.pictures:
            await asyncio.sleep(0.001)
    running = asyncio.create_task(line.archive.run())
    monkeypatch.setattr("daemon.archive_store._free", lambda _folder: 1000)
    async with asyncio.timeout(10):
        while names(tmp_path / "archive"):
            await asyncio.sleep(0.001)
    await line.close()
    running.cancel()
    await asyncio.wait([running])
