from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import numpy as np
import pytest

from inspection import clock
from inspection.errors import NotScored
from inspection.frame import CropPixels
from inspection.probe import SILENT
from inspection.verdict import Reason
from vision.backends.simulated import Simulated
from vision.batching import Batcher
from vision.latency import LatencyCurve
from vision.worker import Worker

if TYPE_CHECKING:
    from tests.vision.conftest import Start, Switch, Until


async def test_scores_come_back_in_the_order_of_the_crops(start: Start) -> None:
    bench = await start(max_batch=4)
    assert await bench.score(30, 10, 20) == pytest.approx([30, 10, 20])


async def test_the_tiles_of_one_part_are_split_over_batches(start: Start) -> None:
    bench = await start(max_batch=4)
    values = list(range(10, 20))
    assert await bench.score(*values) == pytest.approx(values)
    assert bench.heard.batches == [4, 4, 2]


async def test_parts_of_two_stations_share_a_batch(start: Start, until: Until, held: Switch) -> None:
    bench = await start(Simulated(held=held.path))
    held.on()
    first = asyncio.create_task(bench.score(1))
    await until(lambda: bench.worker.under_way == 1)
    others = [asyncio.create_task(bench.score(2)), asyncio.create_task(bench.score(3, 4))]
    await until(lambda: bench.worker.under_way == 2)
    held.off()
    assert await first == pytest.approx([1])
    assert await others[0] == pytest.approx([2])
    assert await others[1] == pytest.approx([3, 4])
    assert bench.heard.batches == [1, 3]


async def test_the_queue_time_and_the_computing_time_add_up_to_the_whole(start: Start) -> None:
    bench = await start(Simulated(batch_s=0.01))
    asked = clock.monotonic()
    scored = await bench.batcher.score(np.zeros((1, 1, 8, 8), np.uint8), asked + 30)
    took = clock.monotonic() - asked
    assert scored.inferred >= 0.01
    assert scored.queued >= 0
    assert scored.queued + scored.inferred <= took


async def test_a_part_that_cannot_make_it_is_refused_at_once_and_costs_no_device_time(start: Start) -> None:
    bench = await start()
    bench.worker.curve = LatencyCurve([10.0, 10.0, 10.0, 10.0])
    asked = clock.monotonic()
    assert await bench.reason(1, within=5.0) is Reason.DEADLINE
    assert clock.monotonic() < asked + 5.0
    assert await bench.score(2, within=60.0) == pytest.approx([2])
    assert bench.heard.batches == [1]


async def test_a_part_behind_a_queue_that_takes_too_long_is_refused_at_once(
    start: Start, until: Until, held: Switch
) -> None:
    bench = await start(Simulated(held=held.path), max_batch=1)
    held.on()
    ahead = [asyncio.create_task(bench.score(value, within=34.0)) for value in (1, 2, 3)]
    await until(lambda: bench.worker.under_way == 2)
    bench.worker.curve = LatencyCurve([10.0])
    asked = clock.monotonic()
    assert await bench.reason(4, within=35.0) is Reason.DEADLINE  # 40 s are needed
    assert clock.monotonic() < asked + 30.0
    bench.worker.curve = LatencyCurve([0.001])
    held.off()
    assert await asyncio.gather(*ahead) == [pytest.approx([value]) for value in (1, 2, 3)]


async def test_a_part_that_became_hopeless_in_the_queue_costs_no_device_time(
    start: Start, until: Until, held: Switch
) -> None:
    bench = await start(Simulated(held=held.path), max_batch=1)
    held.on()
    ahead = [asyncio.create_task(bench.score(value, within=60.0)) for value in (1, 2)]
    await until(lambda: bench.worker.under_way == 2)
    part = asyncio.create_task(bench.reason(3, within=25.0))
    await until(lambda: bench.heard.depths[-1] == 1)
    bench.worker.curve = LatencyCurve([50.0])
    held.off()
    assert await part is Reason.DEADLINE
    await asyncio.gather(*ahead)
    assert bench.heard.batches == [1, 1]


async def test_a_deadline_that_has_passed_is_refused(start: Start) -> None:
    bench = await start()
    assert await bench.reason(1, within=-0.1) is Reason.DEADLINE
    assert bench.heard.batches == []


async def test_a_batch_is_no_larger_than_its_most_urgent_part_allows(start: Start) -> None:
    bench = await start(batching=False)
    bench.worker.curve = LatencyCurve([10.0, 20.0, 30.0, 40.0])
    parts = [asyncio.create_task(bench.score(value, within=within)) for value, within in ((1, 25.0), (2, 90.0))]
    parts += [asyncio.create_task(bench.score(value, within=90.0)) for value in (3, 4)]
    await asyncio.sleep(0)
    bench.run("batcher")
    assert await asyncio.gather(*parts) == [pytest.approx([value]) for value in (1, 2, 3, 4)]
    assert bench.heard.batches == [2, 2]


async def test_the_most_urgent_part_goes_first(start: Start, until: Until, held: Switch) -> None:
    bench = await start(Simulated(held=held.path), max_batch=1)
    held.on()
    order: list[int] = []

    async def part(value: int, within: float) -> None:
        await bench.score(value, within=within)
        order.append(value)

    parts = [asyncio.create_task(part(value, within)) for value, within in ((1, 30), (2, 30), (3, 60), (4, 40))]
    await until(lambda: bench.worker.under_way == 2)
    held.off()
    await asyncio.gather(*parts)
    assert order == [1, 2, 4, 3]


async def test_an_idle_device_takes_a_single_part_at_once(start: Start) -> None:
    bench = await start()
    bench.worker.curve = LatencyCurve([5.0, 5.0, 5.0, 5.0])
    assert await bench.score(1, within=600.0) == pytest.approx([1])


async def test_the_next_batch_stays_open_while_the_device_computes_until_it_is_full(
    start: Start, until: Until, held: Switch
) -> None:
    bench = await start(Simulated(held=held.path), max_batch=3)
    held.on()
    bench.worker.curve = LatencyCurve([20.0, 20.0, 20.0])
    parts = [asyncio.create_task(bench.score(1, within=300.0))]
    await until(lambda: bench.worker.under_way == 1)
    parts += [asyncio.create_task(bench.score(value, within=300.0)) for value in (2, 3)]
    await until(lambda: bench.heard.depths[-1] == 2)
    await asyncio.sleep(0.01)
    assert bench.worker.under_way == 1
    parts.append(asyncio.create_task(bench.score(4, within=300.0)))
    await until(lambda: bench.worker.under_way == 2)
    held.off()
    await asyncio.gather(*parts)
    assert bench.heard.batches == [1, 3]


async def test_the_next_batch_is_handed_over_before_the_device_would_be_idle(
    start: Start, until: Until, held: Switch
) -> None:
    bench = await start(Simulated(held=held.path), max_batch=3)
    held.on()
    bench.worker.curve = LatencyCurve([0.2, 0.2, 0.2])
    parts = [asyncio.create_task(bench.score(1))]
    await until(lambda: bench.worker.under_way == 1)
    parts.append(asyncio.create_task(bench.score(2)))
    await until(lambda: bench.worker.under_way == 2)  # the device is held: only the clock can have done this
    held.off()
    await asyncio.gather(*parts)


async def test_what_exceeds_the_queue_is_refused_as_overload(start: Start, until: Until, held: Switch) -> None:
    bench = await start(Simulated(held=held.path), max_batch=1, max_waiting=3)
    held.on()
    under_way = [asyncio.create_task(bench.score(value)) for value in (1, 2)]
    await until(lambda: bench.worker.under_way == 2)
    waiting = asyncio.create_task(bench.score(3, 4))
    await until(lambda: bench.heard.depths[-1] == 2)
    assert await bench.reason(5, 6) is Reason.OVERLOAD
    last = asyncio.create_task(bench.score(7))
    await until(lambda: bench.heard.depths[-1] == 3)
    assert await bench.reason(8) is Reason.OVERLOAD
    held.off()
    await asyncio.gather(*under_way, waiting, last)
    assert max(bench.heard.depths) == 3
    assert bench.heard.depths[-1] == 0


async def test_an_estimate_that_is_too_high_does_not_refuse_parts_for_ever(start: Start) -> None:
    bench = await start()
    bench.worker.curve = LatencyCurve([100.0] * 4)
    assert await bench.reason(1, within=10.0) is Reason.DEADLINE
    for _ in range(60):
        with contextlib.suppress(NotScored):
            assert await bench.score(1, within=10.0) == pytest.approx([1])
            break
    assert bench.heard.batches == [1]


async def test_a_part_that_is_no_longer_wanted_leaves_the_queue(start: Start, until: Until, held: Switch) -> None:
    bench = await start(Simulated(held=held.path), max_batch=1)
    held.on()
    under_way = [asyncio.create_task(bench.score(value)) for value in (1, 2)]
    await until(lambda: bench.worker.under_way == 2)
    waiting = asyncio.create_task(bench.score(3, 4))
    await until(lambda: bench.heard.depths[-1] == 2)
    waiting.cancel()
    under_way[0].cancel()
    await until(lambda: bench.heard.depths[-1] == 0)
    held.off()
    assert await under_way[1] == pytest.approx([2])
    assert await bench.score(5) == pytest.approx([5])
    assert bench.heard.batches == [1, 1, 1]
    assert under_way[0].cancelled()
    assert waiting.cancelled()


async def test_a_closed_batcher_finishes_what_waits_and_refuses_newcomers(
    start: Start, until: Until, held: Switch
) -> None:
    bench = await start(Simulated(held=held.path), max_batch=1)
    held.on()
    parts = [asyncio.create_task(bench.score(value)) for value in (1, 2, 3)]
    await until(lambda: bench.worker.under_way == 2)
    bench.batcher.close()
    assert await bench.reason(4) is Reason.SHUTDOWN
    held.off()
    assert await asyncio.gather(*parts) == [pytest.approx([value]) for value in (1, 2, 3)]


async def test_a_batcher_that_ends_answers_what_waits(start: Start, until: Until, held: Switch) -> None:
    bench = await start(Simulated(held=held.path), max_batch=1)
    held.on()
    under_way = [asyncio.create_task(bench.score(value)) for value in (1, 2)]
    await until(lambda: bench.worker.under_way == 2)
    waiting = asyncio.create_task(bench.reason(3))
    await until(lambda: bench.heard.depths[-1] == 1)
    await bench.stop("batcher")
    assert await waiting is Reason.SHUTDOWN
    assert await bench.reason(4) is Reason.SHUTDOWN
    held.off()
    assert await asyncio.gather(*under_way) == [pytest.approx([1]), pytest.approx([2])]


@pytest.mark.parametrize(
    "crops",
    [np.zeros((0, 1, 8, 8), np.uint8), np.zeros((1, 3, 8, 8), np.uint8), np.zeros((1, 1, 8, 8), np.float32)],
    ids=["no crop", "another shape", "another type"],
)
async def test_crops_that_are_not_the_models_input_are_a_mistake_of_the_caller(crops: CropPixels) -> None:
    worker = Worker(Simulated().open, crop_shape=(1, 8, 8), max_batch=4, probe=SILENT, model="")
    batcher = Batcher(worker, max_batch=4, max_waiting=8, probe=SILENT)
    with pytest.raises(ValueError, match="is not uint8"):
        await batcher.score(crops, clock.monotonic() + 1)


@pytest.mark.parametrize("max_batch", [0, 5])
def test_a_batch_that_the_worker_was_not_warmed_up_for_is_refused(max_batch: int) -> None:
    worker = Worker(Simulated().open, crop_shape=(1, 8, 8), max_batch=4, probe=SILENT, model="")
    with pytest.raises(ValueError, match=r"within 1\.\.4"):
        Batcher(worker, max_batch=max_batch, max_waiting=8, probe=SILENT)


async def test_a_batcher_that_nobody_runs_is_told_to_the_watchdog(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = await start(batching=False)
    monkeypatch.setattr("vision.batching.STUCK_S", -60.0)
    assert bench.batcher.stuck == ""
    part = asyncio.create_task(bench.score(1))
    await asyncio.sleep(0)
    assert bench.batcher.stuck == "1 crops wait past their deadline"
    bench.run("batcher")
    assert await part == pytest.approx([1])
    assert bench.batcher.stuck == ""
