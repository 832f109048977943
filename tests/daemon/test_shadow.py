"""A candidate in the shadow is heard by whoever reviews it, and by nobody else."""

import asyncio
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from daemon.config import Config
from daemon.journal import MOST_BYTES, Journal, older, read
from inspection.errors import ModelRefused
from inspection.verdict import Outcome
from tests.daemon.swapping import LEFT, RIGHT, Rig, configured, draw_bundle, running
from vision.backends.simulated import Simulated


def quiet(config: Config) -> Config:
    """Only with the station whose parts are asked for."""
    return config.model_copy(update={"stations": {"asked": config.stations["asked"]}})


def counts(rig: Rig) -> dict[str, int]:
    return rig.supervisor.daemon.shadow.counts


async def test_a_candidate_is_compared_without_a_say_and_its_disagreements_are_listed(tmp_path: Path) -> None:
    live = draw_bundle(tmp_path / "live", LEFT)
    other = draw_bundle(tmp_path / "other", LEFT, note="stricter", pass_below=0.1, good=0)
    async with running(quiet(configured(tmp_path, live.path))) as rig:
        assert await rig.ask("shadow", other.path) == {"candidate": other.model_id}
        assert (rig.config.state_dir / "models" / other.model_id / "bundle.json").exists()
        verdicts = [await rig.judged() for _ in range(5)]
        assert {(v.model, v.outcome) for v in verdicts} == {(live.model_id, Outcome.PASS)}
        await rig.until(lambda: counts(rig)["candidate_fails"] >= 5)
        told = await rig.ask("shadow_counts")

        rows = list(read(rig.config.state_dir / "shadow.jsonl"))
        assert told["candidate"] == other.model_id
        assert told["counts"]["same"] == told["counts"]["candidate_passes"] == 0
        assert [row["part"] for row in rows] == [verdict.part.id for verdict in verdicts]
        assert rows[0]["live"] == {"model": live.model_id, "verdict": "PASS", "reason": "score", "score": 0.2}
        assert (rows[0]["candidate"]["verdict"], len(rows[0]["frames"])) == ("FAIL", 2)
        metrics = rig.supervisor.view.metrics().decode()
        assert f'linegate_shadow_info{{hash="{other.model_id}"}} 1.0' in metrics

        await rig.ask("shadow_off")
        before = counts(rig)
        await rig.judged()
        assert counts(rig) == before


async def test_a_candidate_that_does_not_keep_up_costs_the_line_nothing(tmp_path: Path) -> None:
    live = draw_bundle(tmp_path / "live", LEFT)
    other = draw_bundle(tmp_path / "other", LEFT, note="slow")
    held = tmp_path / "held"
    async with running(configured(tmp_path, live.path), {other.model_id: Simulated(held=held)}) as rig:
        await rig.ask("shadow", other.path)
        held.touch()
        assert {(await rig.judged()).outcome for _ in range(30)} == {Outcome.PASS}
        await rig.until(lambda: counts(rig)["dropped"] > 0)
        held.unlink()


async def test_what_cannot_be_compared_is_refused_and_a_promotion_ends_the_shadow(tmp_path: Path) -> None:
    live = draw_bundle(tmp_path / "live", LEFT)
    other = draw_bundle(tmp_path / "other", LEFT, note="other")
    async with running(configured(tmp_path, live.path)) as rig:
        with pytest.raises(ModelRefused, match="would only agree with itself"):
            await rig.ask("shadow", live.path)
        with pytest.raises(ModelRefused, match="its recipe is not that of the live model"):
            await rig.ask("shadow", draw_bundle(tmp_path / "right", RIGHT).path)
        await rig.ask("shadow", other.path)
        await rig.ask("promote", other.path)
        assert rig.supervisor.daemon.shadow.candidate is None
        assert (await rig.judged()).model == other.model_id


async def test_a_journal_is_bounded_on_disk_and_does_not_fall_over_half_a_row(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "rows.jsonl")
    row: dict[str, Any] = {"text": "x" * 100_000}
    for _ in range(2 * MOST_BYTES // 100_000 + 20):
        journal.note(row)
        journal.flush()
    sizes = [older(journal.file).stat().st_size, journal.file.stat().st_size]
    assert max(sizes) < MOST_BYTES + 200_000
    with journal.file.open("a") as file:
        file.write("[" * 100_000 + '\n{"half":')
    with journal.file.open("ab") as file:
        file.write(b"\xff\n")
    assert all(found == row for found in read(journal.file))


async def test_rows_are_written_soon_and_at_the_end(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "rows.jsonl")
    running = asyncio.create_task(journal.run())
    journal.note({"n": 1})
    async with asyncio.timeout(20):
        while not journal.file.exists():
            await asyncio.sleep(0.01)
    journal.note({"n": 2})
    running.cancel()
    await asyncio.wait([running])
    assert list(read(journal.file)) == [{"n": 1}, {"n": 2}]


def test_a_journal_that_two_threads_flush_at_once_loses_nothing_and_raises_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(deque[str]):
        """Waits for the other thread between the count of the rows and their removal."""

        def __len__(self) -> int:
            count = super().__len__()
            with suppress(threading.BrokenBarrierError):
                both.wait(0.5)
            return count

    both = threading.Barrier(2)
    journal = Journal(tmp_path / "rows.jsonl")
    for row in range(8):
        journal.note({"row": row})
    monkeypatch.setattr(journal, "_waiting", Slow(journal._waiting))
    with ThreadPoolExecutor(2) as threads:
        for flushing in [threads.submit(journal.flush) for _ in range(2)]:
            flushing.result()
    assert [row["row"] for row in read(journal.file)] == list(range(8))
