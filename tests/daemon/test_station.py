"""Whatever happens to a part, exactly one verdict comes out, and nothing but a score below the limit is PASS."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from inspection import clock
from inspection.errors import NotScored
from inspection.frame import Missed
from inspection.part import Label
from inspection.verdict import Outcome, Reason
from tests.daemon.conftest import Bench, crops
from vision.bundle import Thresholds

Builder = Callable[..., Bench]


@pytest.mark.parametrize(
    ("score", "outcome", "reason"),
    [
        (0.1, Outcome.PASS, Reason.SCORE),
        (0.4, Outcome.FAIL, Reason.UNCERTAIN),
        (0.5, Outcome.FAIL, Reason.UNCERTAIN),
        (0.6, Outcome.FAIL, Reason.SCORE),
        (0.9, Outcome.FAIL, Reason.SCORE),
        (math.nan, Outcome.NO_VERDICT, Reason.NON_FINITE),
        (math.inf, Outcome.NO_VERDICT, Reason.NON_FINITE),
    ],
)
async def test_a_score_becomes_the_outcome(bench: Builder, score: float, outcome: Outcome, reason: Reason) -> None:
    line = bench()
    line.line.score = score

    line.trigger()

    (verdict,) = await line.verdicts(1)
    assert (verdict.outcome, verdict.reason) == (outcome, reason)
    assert line.balance() == (1, 1, 0)


@pytest.mark.parametrize("reason", [Reason.CAMERA_LOST, Reason.CAMERA_STALLED, Reason.FRAME_DARK, Reason.DECODE_ERROR])
async def test_a_part_without_a_usable_picture_gets_the_cameras_reason(
    bench: Builder, missed: Callable[[Reason], Missed], reason: Reason
) -> None:
    line = bench()
    line.line.capture = missed(reason)

    line.trigger()

    (verdict,) = await line.verdicts(1)
    assert (verdict.outcome, verdict.reason, verdict.score) == (Outcome.NO_VERDICT, reason, None)
    assert line.line.records[0].frames[0].missed == reason


@pytest.mark.parametrize("reason", [Reason.WORKER_FAILED, Reason.WORKER_HUNG, Reason.OVERLOAD, Reason.MODEL_INVALID])
async def test_a_part_that_nobody_scores_gets_the_workers_reason(bench: Builder, reason: Reason) -> None:
    line = bench()
    line.line.score = NotScored(reason, "detail")

    line.trigger()

    (verdict,) = await line.verdicts(1)
    assert (verdict.outcome, verdict.reason, verdict.detail) == (Outcome.NO_VERDICT, reason, "detail")


async def test_a_part_whose_score_does_not_come_is_answered_before_its_deadline(bench: Builder) -> None:
    line = bench()
    line.line.score = None

    line.trigger(window=0.1)

    (verdict,) = await line.verdicts(1)
    assert verdict.reason is Reason.DEADLINE
    assert verdict.decided < verdict.part.deadline
    assert line.line.records[0].said is True


async def test_a_trigger_whose_picture_does_not_come_is_a_missed_trigger(bench: Builder) -> None:
    line = bench()
    line.line.capture = None

    line.trigger(window=0.1)

    (verdict,) = await line.verdicts(1)
    assert (verdict.outcome, verdict.reason) == (Outcome.NO_VERDICT, Reason.MISSED_TRIGGER)


async def test_a_full_station_answers_overload_at_once(bench: Builder) -> None:
    line = bench(max_open=2)
    line.line.score = None

    for _ in range(3):
        line.trigger()

    (verdict,) = line.line.said
    assert (verdict.part.trigger and verdict.part.trigger.id, verdict.reason) == (3, Reason.OVERLOAD)
    assert line.balance() == (3, 1, 2)
    await line.station.close(grace=0)


async def test_a_fault_of_ours_still_gives_the_part_its_verdict(
    bench: Builder, caplog: pytest.LogCaptureFixture
) -> None:
    line = bench()
    line.line.fault = ZeroDivisionError("a bug")

    line.trigger()

    (verdict,) = await line.verdicts(1)
    assert (verdict.outcome, verdict.reason) == (Outcome.NO_VERDICT, Reason.WORKER_FAILED)
    assert "a bug" in caplog.text


async def test_closing_answers_every_open_part_and_takes_no_more(bench: Builder) -> None:
    line = bench()
    line.line.score = None
    for _ in range(3):
        line.trigger()

    await line.station.close(grace=0.01)
    line.trigger()

    assert [verdict.reason for verdict in line.line.said] == [Reason.SHUTDOWN] * 4
    assert line.balance() == (4, 4, 0)


async def test_closing_lets_parts_that_are_nearly_done_finish(bench: Builder) -> None:
    line = bench()
    line.trigger()

    await line.station.close(grace=5)

    assert [verdict.outcome for verdict in line.line.said] == [Outcome.PASS]


async def test_a_free_running_picture_is_a_part_and_so_is_a_lost_one(
    bench: Builder, missed: Callable[[Reason], Missed]
) -> None:
    line = bench()

    line.station.captured(crops())
    line.station.captured(missed(Reason.FRAME_FROZEN))

    verdicts = await line.verdicts(2)
    assert {verdict.reason for verdict in verdicts} == {Reason.SCORE, Reason.FRAME_FROZEN}
    assert line.balance() == (2, 2, 0)


async def test_a_picture_that_comes_after_its_deadline_is_never_told_as_pass(bench: Builder) -> None:
    line = bench(window=0.05)

    line.station.captured(crops(captured=clock.monotonic() - 1))

    (verdict,) = await line.verdicts(1)
    assert verdict.outcome is Outcome.NO_VERDICT
    assert line.line.records[0].said is False


async def test_a_part_is_judged_by_the_model_that_was_live_when_it_was_opened(bench: Builder) -> None:
    line = bench()
    line.line.capture = None
    line.trigger()
    before = line.live
    line.live = replace(before, hash="n" * 64, thresholds=Thresholds(0.0, 0.0))
    line.line.capture = crops()
    line.trigger()
    await line.verdicts(1)
    line.line.arrived.set()

    verdicts = await line.verdicts(2)
    assert {(v.part.seq, v.outcome) for v in verdicts} == {(1, Outcome.PASS), (2, Outcome.FAIL)}
    assert {record.verdict.part.seq: record.model_hash[0] for record in line.line.records} == {1: "m", 2: "n"}


async def test_a_picture_of_which_the_models_recipe_makes_nothing_is_a_decode_error(bench: Builder) -> None:
    line = bench()
    line.line.capture = replace(crops(), pixels={}, unmade={"recipe": "too small"})

    line.trigger()

    (verdict,) = await line.verdicts(1)
    assert (verdict.outcome, verdict.reason, verdict.detail) == (Outcome.NO_VERDICT, Reason.DECODE_ERROR, "too small")


async def test_a_part_with_two_cameras_needs_both(bench: Builder) -> None:
    line = bench(cameras=2)

    line.trigger()

    await line.verdicts(1)
    assert line.line.shots == 2
    assert len(line.line.records[0].frames) == 2


async def test_every_verdict_is_recorded_with_its_times_and_hashes(bench: Builder) -> None:
    line = bench()

    line.trigger()

    await line.verdicts(1)
    (record,) = line.line.records
    assert record.id == "5e551011-s-1"
    assert (record.model_hash, record.config_hash, record.said) == ("m" * 64, "c" * 12, True)
    assert record.frames[0].source == "a.png"
    assert {"capture", "prepare", "queue", "infer", "publish", "total"} == set(record.stages)


async def test_a_verdict_without_a_broker_is_late_and_still_recorded(bench: Builder) -> None:
    line = bench()
    line.line.broker = False

    line.trigger()

    await line.verdicts(1)
    assert line.line.records[0].said is False
    assert line.station.tally.late == 1


async def test_where_records_are_required_the_record_comes_before_the_verdict(bench: Builder) -> None:
    line = bench(require_record=True)

    line.trigger()

    await line.verdicts(1)
    assert [record.said for record in line.line.records] == [None]


async def test_where_records_are_required_a_full_disk_is_never_a_pass(bench: Builder) -> None:
    line = bench(require_record=True)
    line.line.disk = False

    line.trigger()

    (verdict,) = await line.verdicts(1)
    assert (verdict.outcome, verdict.reason) == (Outcome.NO_VERDICT, Reason.STORE_FAILED)


async def test_a_disk_that_stalls_is_answered_in_time_and_the_record_says_so(bench: Builder) -> None:
    line = bench(require_record=True)
    line.line.disk_stalls = True

    line.trigger(window=0.3)

    (verdict,) = await line.verdicts(1)
    assert (verdict.outcome, verdict.reason) == (Outcome.NO_VERDICT, Reason.STORE_FAILED)
    assert verdict.decided < verdict.part.deadline
    assert [(record.verdict, record.said) for record in line.line.records] == [(verdict, True)]


async def test_where_records_are_required_what_is_refused_at_once_has_a_record_too(bench: Builder) -> None:
    line = bench(require_record=True, max_open=1)
    line.line.capture = None
    line.trigger()
    line.trigger()

    (verdict,) = await line.verdicts(1)
    assert verdict.reason is Reason.OVERLOAD
    assert [record.verdict for record in line.line.records] == [verdict]
    await line.station.close(grace=0)
    assert [record.verdict.reason for record in line.line.records] == [Reason.OVERLOAD, Reason.SHUTDOWN]


async def test_labels_are_compared_with_the_outcomes(bench: Builder) -> None:
    line = bench()
    for label, score in [(Label.OK, 0.1), (Label.OK, 0.9), (Label.NG, 0.1), (Label.NG, 0.9), (Label.NG, 0.5)]:
        line.line.capture, line.line.score = crops(label), score
        line.trigger()
        await line.verdicts(line.triggers)

    agreement = line.station.tally.agreement
    assert agreement is not None
    assert (agreement.ok, agreement.ng, agreement.escapes, agreement.overkill) == (2, 3, 1, 1)


async def test_many_parts_at_once_each_get_exactly_one_verdict(bench: Builder) -> None:
    line = bench(max_open=1000)
    for _ in range(500):
        line.trigger()

    await line.verdicts(500)
    await asyncio.sleep(0)

    assert sorted(v.part.seq for v in line.line.said) == list(range(1, 501))
    assert line.balance() == (500, 500, 0)
