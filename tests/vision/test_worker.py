from __future__ import annotations

import asyncio
import math
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from inspection import clock
from inspection.errors import BackendError
from inspection.verdict import Reason
from vision.backends.simulated import Fault, OpeningFault, Simulated
from vision.child import warm_up
from vision.worker import State

if TYPE_CHECKING:
    from tests.vision.conftest import Bench, Start, Switch, Until

BAD = 99  # the brightness that the simulated backend answers with its fault


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def open_files() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


def pid_of(bench: Bench) -> int:
    assert bench.worker.pid is not None
    return bench.worker.pid


async def test_a_ready_worker_tells_its_backend_and_the_time_of_every_batch_size(start: Start) -> None:
    bench = await start(Simulated(batch_s=0.002, name="cpu"), max_batch=3)
    assert (bench.worker.state, bench.worker.backend_name) == (State.READY, "cpu")
    assert len(bench.worker.latency) == 3
    assert min(bench.worker.latency) >= 0.002
    assert bench.heard.curves == [bench.worker.latency]


async def test_the_curve_follows_what_batches_take_and_is_told(start: Start) -> None:
    bench = await start()
    before = bench.worker.latency
    await bench.score(10, 20)
    assert bench.worker.latency != before
    assert bench.heard.curves[-1] == bench.worker.latency
    assert bench.heard.batches == [2]


def test_a_backend_that_gives_too_few_scores_is_not_warmed_up() -> None:
    short = Simulated(opening="short").open()
    with pytest.raises(BackendError, match=r"shape \(0,\) for 1 crops"):
        warm_up(short, np.zeros((2, 1, 8, 8), np.uint8))


async def test_a_killed_child_costs_what_it_computed_and_what_waited_and_is_restarted(
    start: Start, until: Until, held: Switch
) -> None:
    bench = await start(Simulated(held=held.path), max_batch=1)
    held.on()
    parts = [asyncio.create_task(bench.reason(value)) for value in (1, 2, 3, 4)]
    await until(lambda: bench.worker.under_way == 2)
    os.kill(pid_of(bench), signal.SIGKILL)
    assert await asyncio.gather(*parts) == [Reason.WORKER_FAILED] * 4
    held.off()
    assert await bench.score(51) == pytest.approx([51])
    assert bench.heard.restarts == ["worker_failed"]


async def test_a_machine_out_of_files_costs_a_worker_and_not_the_daemon(start: Start, until: Until) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    await start()  # what Python opens once is open
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_files() + 2, hard))
    try:
        bench = await start(ready=False)
        await bench.worker.settled.wait()
        assert "its process cannot be started: Too many open files" in bench.worker.failure
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    await until(bench.worker.ready.is_set)
    assert await bench.score(51) == pytest.approx([51])


async def test_a_child_that_dies_in_a_batch_is_restarted(start: Start) -> None:
    bench = await start(Simulated(faults={BAD: "die"}))
    refused = await bench.refused(BAD)
    assert (refused.reason, refused.detail) == (Reason.WORKER_FAILED, "the worker's process ended")
    assert await bench.score(51) == pytest.approx([51])


async def test_a_child_that_raises_costs_one_batch_and_stays(start: Start) -> None:
    bench = await start(Simulated(faults={BAD: "raise"}))
    pid = pid_of(bench)
    refused = await bench.refused(BAD)
    assert (refused.reason, refused.detail) == (Reason.WORKER_FAILED, "RuntimeError: simulated device error")
    assert await bench.score(51) == pytest.approx([51])
    assert pid_of(bench) == pid


async def test_a_child_that_raises_again_and_again_is_replaced(start: Start) -> None:
    bench = await start(Simulated(faults={BAD: "raise"}))
    pid = pid_of(bench)
    for _ in range(3):
        assert await bench.reason(BAD) is Reason.WORKER_FAILED
    assert await bench.score(51) == pytest.approx([51])
    assert pid_of(bench) != pid


async def test_a_backend_with_two_callers_begins_a_batch_before_the_one_before_is_done(start: Start) -> None:
    bench = await start(Simulated(faults={BAD: "meet"}, callers=2), max_batch=2)
    parts = [bench.score(BAD, 10), bench.score(BAD, 20), bench.score(BAD, 30), bench.score(BAD, 40)]
    assert await asyncio.gather(*parts) == [pytest.approx([BAD, value]) for value in (10, 20, 30, 40)]


async def test_one_that_takes_longer_is_still_answered_first(start: Start) -> None:
    bench = await start(Simulated(crop_s=0.05, callers=2))
    order: list[int] = []

    async def score(*values: int) -> None:
        assert await bench.score(*values) == pytest.approx(list(values))
        order.append(len(values))

    await asyncio.gather(score(10, 20, 30, 40), score(50))
    assert order == [4, 1]


async def test_a_wrong_number_of_scores_reaches_no_part(start: Start) -> None:
    bench = await start(Simulated(faults={BAD: "short"}))
    refused = await bench.refused(10, BAD, 30)
    assert refused.reason is Reason.WORKER_FAILED
    assert "shape (2,) for 3 crops" in refused.detail


async def test_non_finite_scores_are_for_the_judge(start: Start) -> None:
    bench = await start(Simulated(faults={BAD: "nan"}))
    assert [math.isnan(score) for score in await bench.score(BAD, 10)] == [True, True]


async def test_a_hung_child_is_killed_after_the_hang_timeout_and_replaced(start: Start, until: Until) -> None:
    bench = await start(Simulated(faults={BAD: "hang"}), max_batch=1, hang_timeout_s=0.3)
    pid = pid_of(bench)
    parts = [asyncio.create_task(bench.reason(value)) for value in (BAD, 2, 3)]
    assert await asyncio.gather(*parts) == [Reason.WORKER_HUNG] * 3
    assert await bench.score(51) == pytest.approx([51])
    assert not alive(pid)
    assert bench.heard.restarts == ["worker_hung"]


async def test_a_hung_child_is_killed_though_its_hang_timeout_is_far(start: Start, until: Until) -> None:
    began = clock.monotonic()
    bench = await start(Simulated(faults={BAD: "hang"}), hang_timeout_s=600)
    pid, patience = pid_of(bench), clock.monotonic() - began
    assert await bench.reason(BAD, within=patience + 0.1) is Reason.WORKER_HUNG
    await until(lambda: bench.heard.restarts == ["worker_hung"])
    assert await bench.score(51) == pytest.approx([51])
    assert not alive(pid)


async def test_a_child_that_is_late_by_less_than_its_start_took_stays_and_its_late_answer_is_discarded(
    start: Start, until: Until, held: Switch
) -> None:
    bench = await start(Simulated(held=held.path), max_batch=1)
    bench.worker._began -= 30.0  # as if it had started for so long
    pid = pid_of(bench)
    held.on()
    assert await bench.reason(200, within=0.05) is Reason.DEADLINE
    follower = asyncio.create_task(bench.score(51))
    await until(lambda: bench.worker.under_way == 2)
    held.off()
    assert await follower == pytest.approx([51])
    assert pid_of(bench) == pid


@pytest.mark.parametrize(
    ("opening", "text"), [("bundle", "simulated damage"), ("backend", "golden set"), ("short", "shape (0,)")]
)
async def test_an_unusable_model_is_told_and_tried_again(
    start: Start, broken: Switch, opening: OpeningFault, text: str
) -> None:
    bench = await start(Simulated(opening=opening, broken=broken.path), ready=False)
    waiting = await bench.refused(51)
    assert waiting.reason is Reason.MODEL_INVALID
    assert text in waiting.detail
    assert await bench.reason(51) is Reason.MODEL_INVALID
    assert bench.worker.state is State.MODEL_INVALID
    assert text in bench.worker.failure
    broken.off()
    await bench.worker.ready.wait()
    assert await bench.score(51) == pytest.approx([51])
    assert bench.worker.failure == ""


@pytest.mark.parametrize("opening", ["raise", "die"])
async def test_a_child_that_never_starts_makes_the_worker_failed_and_is_still_tried(
    start: Start, until: Until, broken: Switch, opening: OpeningFault
) -> None:
    bench = await start(Simulated(opening=opening, broken=broken.path), ready=False, back_off_s=(0.01, 0.01))
    await until(lambda: bench.worker.state is State.FAILED)
    assert bench.heard.restarts[:2] == ["worker_failed", "worker_failed"]
    assert await bench.reason(51) is Reason.WORKER_FAILED
    broken.off()
    await bench.worker.ready.wait()
    assert bench.worker.state is State.READY
    assert await bench.score(51) == pytest.approx([51])


async def test_a_child_that_hangs_while_it_starts_is_replaced(start: Start, until: Until) -> None:
    bench = await start(Simulated(opening="hang"), ready=False, start_timeout_s=0.2)
    await until(lambda: bool(bench.heard.restarts))
    assert "not ready after 0.2 s" in bench.worker.failure


async def test_a_part_waits_for_a_worker_that_starts(start: Start, broken: Switch) -> None:
    bench = await start(Simulated(opening="hang", broken=broken.path), ready=False)
    part = asyncio.create_task(bench.score(51))
    refused = await bench.refused(7, within=0.05)
    assert (refused.reason, refused.detail) == (Reason.WORKER_FAILED, "starting")
    broken.off()
    assert await part == pytest.approx([51])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_only_the_daemon_ends_the_child(start: Start, number: signal.Signals) -> None:
    bench = await start()
    pid = pid_of(bench)
    os.kill(pid, number)
    assert await bench.score(51) == pytest.approx([51])
    assert pid_of(bench) == pid


async def test_cancelling_answers_what_is_open_and_ends_the_child(start: Start, until: Until, held: Switch) -> None:
    bench = await start(Simulated(held=held.path), max_batch=1)
    pid = pid_of(bench)
    held.on()
    parts = [asyncio.create_task(bench.reason(value)) for value in (1, 2, 3)]
    await until(lambda: bench.worker.under_way == 2)
    await bench.stop("worker")
    assert await asyncio.gather(*parts) == [Reason.SHUTDOWN] * 3
    assert await bench.reason(4) is Reason.SHUTDOWN
    assert not alive(pid)
    assert bench.worker.state is State.STOPPED


@pytest.mark.parametrize("fault", ["hang", "none"])
async def test_the_child_does_not_outlive_its_parent(until: Until, tmp_path: Path, fault: Fault) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    command = [sys.executable, str(script), fault]
    with subprocess.Popen(  # noqa: ASYNC220 - once
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stderr is not None
        pid = int(await asyncio.to_thread(parent.stdout.readline))
        assert alive(pid)
        parent.kill()
        await until(lambda: not alive(pid))
        assert parent.stderr.read() == ""


def test_a_process_that_ends_in_order_says_nothing_on_stderr(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    ended = subprocess.run([sys.executable, str(script), "end"], capture_output=True, text=True, check=True, timeout=60)
    assert ended.stderr == ""
    assert not alive(int(ended.stdout))


PARENT = """
import asyncio, sys
import numpy as np
from inspection import clock
from inspection.probe import SILENT
from vision.backends.simulated import Simulated
from vision.batching import Batcher
from vision.worker import Worker


async def main():
    backend = Simulated(faults={99: "hang"})
    worker = Worker(backend.open, crop_shape=(1, 8, 8), max_batch=2, probe=SILENT, model="m", hang_timeout_s=600)
    batcher = Batcher(worker, max_batch=2, max_waiting=8, probe=SILENT)
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(worker.run()), group.create_task(batcher.run())]
        await worker.ready.wait()
        pid = worker.pid
        if sys.argv[1] == "hang":
            crops = np.full((1, 1, 8, 8), 99, np.uint8)
            group.create_task(batcher.score(crops, clock.monotonic() + 600))
            while not worker.under_way:
                await asyncio.sleep(0.001)
        print(pid, flush=True)
        if sys.argv[1] == "end":
            for task in running:
                task.cancel()


if __name__ == "__main__":
    asyncio.run(main())
"""
