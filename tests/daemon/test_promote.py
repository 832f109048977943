"""A model takes another's place between two parts, or leaves everything as it was."""

import asyncio
import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from daemon.choice import Shelf
from inspection.errors import ModelRefused
from inspection.verdict import Outcome
from tests.daemon.swapping import BRIGHT, DARK, LEFT, RIGHT, Rig, children, configured, draw_bundle, running
from vision.backends.simulated import OpeningFault, Simulated
from vision.bundle import Bundle
from vision.content import with_content_hash


def model_of(rig: Rig) -> str:
    return rig.live.bundle.model_id


async def test_swaps_under_load_lose_no_part_and_judge_none_by_a_mix(
    tmp_path: Path, left: Bundle, right: Bundle
) -> None:
    seen = {left.model_id: DARK / 255, right.model_id: BRIGHT / 255}
    async with running(configured(tmp_path, left.path)) as rig:
        driving = asyncio.create_task(_drive(rig))
        swaps: list[tuple[int, str]] = []
        try:
            for bundle in [right, left] * 5:
                await rig.ask("promote", bundle.path)
                swaps.append((rig.unit("asked").station.ledger.captured, model_of(rig)))
        finally:
            driving.cancel()
            await asyncio.gather(driving, return_exceptions=True)
        await rig.until(lambda: not rig.unit("asked").station.ledger.open_parts)

        assert [model for _, model in swaps] == [right.model_id, left.model_id] * 5
        for station, ear in rig.ears.items():
            verdicts = sorted(ear.heard, key=lambda verdict: verdict.part.seq)
            assert len(verdicts) > 100
            left_open = rig.unit(station).station.ledger.open_parts  # the other station goes on
            assert rig.account(station) == (len(verdicts) + left_open, len(verdicts))
            assert [v.outcome for v in verdicts if v.outcome is Outcome.NO_VERDICT] == []
            assert {(v.model, round(v.score or 0, 3)) for v in verdicts} == {(m, round(s, 3)) for m, s in seen.items()}
            # One after the other, never back and forth.
            turns = [v.model for v, before in zip(verdicts[1:], verdicts, strict=False) if v.model != before.model]
            assert len(turns) == 10


async def _drive(rig: Rig) -> None:
    """A hundred parts a second, or as many as this machine judges."""
    while True:
        if rig.unit("asked").station.ledger.open_parts < 500:
            rig.trigger()
        await asyncio.sleep(0.01)


async def test_a_swap_takes_the_thresholds_and_the_name_along_and_survives_a_restart(
    tmp_path: Path, left: Bundle, right: Bundle
) -> None:
    config = configured(tmp_path, left.path)
    async with running(config) as rig:
        done = await rig.ask("promote", right.path)
        assert done == {"model": right.model_id, "before": left.model_id}
        assert (await rig.judged()).outcome is Outcome.FAIL
        assert rig.supervisor.view.snapshot().worker.model == right.model_id
        await rig.until(lambda: f'hash="{right.model_id}"' in rig.supervisor.view.metrics().decode())
    async with running(config) as rig:
        assert model_of(rig) == right.model_id
        assert "was promoted" in rig.supervisor.daemon.origin.why
        verdict = await rig.judged()
        assert (verdict.model, verdict.outcome) == (right.model_id, Outcome.FAIL)


async def test_rollback_leads_back_and_forth_and_live_stays_live(tmp_path: Path, left: Bundle, right: Bundle) -> None:
    async with running(configured(tmp_path, left.path)) as rig:
        with pytest.raises(ModelRefused, match="no model to go back to"):
            await rig.ask("rollback")
        await rig.ask("promote", right.path)
        for expected in (left, right):
            assert (await rig.ask("rollback"))["model"] == expected.model_id
            assert (await rig.judged()).model == expected.model_id
        worker = rig.live.worker.pid
        await rig.ask("promote", right.path)
        assert (rig.live.worker.pid, rig.steps[-1]) == (
            worker,
            f"{right.model_id} is live already: nothing was changed",
        )


async def test_a_bundle_written_over_after_its_promotion_changes_nothing(
    tmp_path: Path, left: Bundle, right: Bundle
) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(right.path, mine)
    config = configured(tmp_path, left.path)
    async with running(config) as rig:
        await rig.ask("promote", mine)
        shutil.rmtree(mine)
        assert rig.live.worker.pid is not None
        os.kill(rig.live.worker.pid, signal.SIGKILL)
        await rig.until(lambda: not rig.live.worker.ready.is_set())
        await rig.until(rig.live.worker.ready.is_set)
        assert (await rig.judged()).model == right.model_id
    async with running(config) as rig:
        assert model_of(rig) == right.model_id


def damaged(bundle: Path) -> None:
    file = bundle / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")


def missing(bundle: Path) -> None:
    shutil.rmtree(bundle)


def pickled(bundle: Path) -> None:
    manifest = json.loads((bundle / "bundle.json").read_text())
    manifest["files"]["weights.pkl"] = manifest["files"]["weights.safetensors"]
    (bundle / "bundle.json").write_text(json.dumps(with_content_hash(manifest)))


async def test_each_refusal_of_a_bundle_leaves_the_model_that_is_live(
    tmp_path: Path, left: Bundle, right: Bundle
) -> None:
    spoilt = {damaged: "its sha256 differs", missing: "there is no such folder", pickled: "a bundle holds only"}
    cases = {draw_bundle(tmp_path / "bare", RIGHT, golden=False).path: "holds no golden parts"}
    cases[draw_bundle(tmp_path / "wide", (60, 0, 40, 40)).path] = "its recipe does not suit camera"
    for spoil, why in spoilt.items():
        path = Path(shutil.copytree(right.path, tmp_path / spoil.__name__))
        spoil(path)
        cases[path] = why
    async with running(configured(tmp_path, left.path)) as rig:
        await rig.judged()  # a picture has been seen, on which a recipe can be tried
        for path, why in cases.items():
            await _is_refused(rig, path, why)


async def test_each_way_of_a_worker_not_to_start_leaves_the_model_that_is_live(
    tmp_path: Path, left: Bundle, right: Bundle
) -> None:
    faults: dict[OpeningFault, str] = {
        "bundle": "simulated damage",
        "backend": "simulated disagreement with the golden set",
        "raise": "simulated driver error",
        "die": "the worker's process ended",
        "short": "scores of shape",
    }
    async with running(configured(tmp_path, left.path)) as rig:
        for fault, why in faults.items():
            rig.backends[right.model_id] = Simulated(opening=fault)
            await _is_refused(rig, right.path, why)


async def test_a_worker_killed_while_it_warms_up_is_refused_and_two_promotions_at_once_too(
    tmp_path: Path, left: Bundle, right: Bundle
) -> None:
    async with running(configured(tmp_path, left.path), {right.model_id: Simulated(opening="hang")}) as rig:
        before = children()
        asking = asyncio.create_task(_is_refused(rig, right.path, "the worker's process ended"))
        await rig.until(lambda: children() - before)

        with pytest.raises(ModelRefused, match=r"the promotion of .*right is under way"):
            await rig.ask("promote", right.path)
        (started,) = children() - before
        os.kill(started, signal.SIGKILL)

        await asking


async def test_a_model_that_misjudges_the_golden_parts_of_the_live_one_does_not_take_its_place(
    tmp_path: Path, left: Bundle
) -> None:
    """Its own golden parts are in order: it has been given others."""
    lenient = draw_bundle(tmp_path / "lenient", LEFT, note="lenient", pass_below=0.9, bad=250)
    strict = draw_bundle(tmp_path / "strict", LEFT, note="strict", pass_below=0.1, good=0)
    async with running(configured(tmp_path, left.path)) as rig:
        await _is_refused(rig, lenient.path, "misjudges 1 of the 1 bad golden parts of the live model")
        await _is_refused(rig, strict.path, "misjudges 1 of the 1 good golden parts of the live model")


async def test_the_live_golden_parts_have_a_say_when_the_folder_of_the_live_model_was_written_over(
    tmp_path: Path, left: Bundle
) -> None:
    mine = Path(shutil.copytree(left.path, tmp_path / "mine"))
    async with running(configured(tmp_path, mine)) as rig:
        shutil.rmtree(mine)
        lenient = draw_bundle(mine, LEFT, note="lenient", pass_below=0.9, bad=250)
        with pytest.raises(ModelRefused, match="misjudges 1 of the 1 bad golden parts of the live model"):
            await rig.ask("promote", lenient.path)
        assert model_of(rig) == left.model_id


async def test_a_model_of_another_recipe_and_the_way_back_are_not_judged_by_the_live_golden_parts(
    tmp_path: Path, left: Bundle
) -> None:
    other = draw_bundle(tmp_path / "other", RIGHT, note="other")
    lenient = draw_bundle(tmp_path / "lenient", RIGHT, note="lenient", pass_below=0.9, bad=250)
    config = configured(tmp_path, lenient.path)
    async with running(config) as rig:
        await rig.ask("promote", left.path)
        assert any("golden parts are crops of another kind" in step for step in rig.steps)
        assert (await rig.ask("rollback"))["model"] == lenient.model_id
        await rig.ask("promote", other.path)
        assert (await rig.ask("rollback"))["model"] == lenient.model_id


async def _is_refused(rig: Rig, bundle: Path, why: str) -> None:
    """The promotion of `bundle`, whose refusal leaves no trace."""
    live, worker = rig.live, rig.live.worker.pid
    choice = Shelf(rig.config.state_dir).choice()
    with pytest.raises(ModelRefused, match=why):
        await rig.ask("promote", bundle)
    assert rig.live is live
    assert live.worker.pid == worker
    assert Shelf(rig.config.state_dir).choice() == choice
    copies = {folder.name for folder in (rig.config.state_dir / "models").glob("*")}
    assert copies <= {live.bundle.model_id}
    verdict = await rig.judged()
    assert (verdict.model, verdict.outcome) == (live.bundle.model_id, Outcome.PASS)
