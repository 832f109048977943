"""A worker that is not live leaves the processor to the one that is, and takes it up when it is its turn."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vision.backends.simulated import Simulated
from vision.priority import Pace, may_step_forward, set_pace, step_forward

if TYPE_CHECKING:
    from tests.vision.conftest import Start

THREADS = """
import os, sys, threading
sys.stdin.readline()
threading.Thread(target=threading.Event().wait, daemon=True).start()
print("up", flush=True)
sys.stdin.readline()
"""


def nice(pid: int) -> set[int]:
    """Of every thread."""
    return {os.getpriority(os.PRIO_PROCESS, int(thread.name)) for thread in Path(f"/proc/{pid}/task").iterdir()}


@pytest.mark.parametrize(
    ("pace", "modest", "idle"), [(Pace.FULL, 0, False), (Pace.MODEST, 10, False), (Pace.IDLE, 0, True)]
)
def test_threads_that_start_later_have_the_pace_of_their_process(pace: Pace, modest: int, idle: bool) -> None:
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    with subprocess.Popen([sys.executable, "-c", THREADS], stdin=-1, stdout=-1, text=True) as child:
        assert child.stdin
        assert child.stdout
        set_pace(child.pid, pace)
        child.stdin.write("go\n")
        child.stdin.flush()
        assert child.stdout.readline() == "up\n"
        assert nice(child.pid) == {modest or ours}
        assert (os.sched_getscheduler(child.pid) == os.SCHED_IDLE) is idle
        if pace is Pace.MODEST and may_step_forward():
            step_forward(child.pid)
            assert nice(child.pid) == {ours}
        child.stdin.close()


def test_a_process_that_has_ended_is_no_error() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    for pace in Pace:
        set_pace(child.pid, pace)
    step_forward(child.pid)


async def test_a_worker_that_takes_over_is_as_fast_as_it_is_known_to_be(start: Start) -> None:
    bench = await start(Simulated(), max_batch=2)
    assert bench.worker.settled.is_set()
    bench.worker.take_over([0.5, 0.75])
    assert bench.worker.latency == [0.5, 0.75]
    bench.worker.take_over([])
    assert bench.worker.latency == [0.5, 0.75]
