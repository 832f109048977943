"""What goes wrong while one model is about to take another's place: the one that is live goes on."""

import asyncio
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from daemon.choice import Shelf
from inspection.errors import ModelRefused
from inspection.verdict import Outcome
from tests.daemon.swapping import Rig, children, configured, running
from vision.backends.simulated import Simulated
from vision.bundle import Bundle


async def left_alone(rig: Rig, left: Bundle) -> None:
    """The next part is the old model's, and so would be the next daemon."""
    verdict = await rig.judged()
    assert (verdict.model, verdict.outcome) == (left.model_id, Outcome.PASS)
    choice = Shelf(rig.config.state_dir).choice()
    assert choice is None or choice.live.hash == left.hash
    assert [v for ear in rig.ears.values() for v in ear.heard if v.outcome is Outcome.NO_VERDICT] == []


async def test_a_disk_that_takes_no_copy_or_no_choice_refuses_the_bundle(
    tmp_path: Path, left: Bundle, right: Bundle
) -> None:
    async with running(configured(tmp_path, left.path)) as rig:
        with files_of_at_most(1 << 20), pytest.raises(ModelRefused, match="the bundle cannot be kept: File too large"):
            await rig.ask("promote", right.path)
        assert list((rig.config.state_dir / "models").iterdir()) == []
        await left_alone(rig, left)

        (rig.config.state_dir / f"model.json.{os.getpid()}.part").symlink_to("/dev/full")  # where it is written first
        with pytest.raises(ModelRefused, match=r"model.json: not written: No space left on device"):
            await rig.ask("promote", right.path)
        await left_alone(rig, left)

        await rig.ask("promote", right.path)
        assert (await rig.judged()).model == right.model_id


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_worker_that_is_lost_between_its_warm_up_and_the_swap_does_not_take_over(
    tmp_path: Path, left: Bundle, right: Bundle
) -> None:
    broken = tmp_path / "broken"
    backends = {right.model_id: Simulated(opening="hang", broken=broken)}
    async with running(configured(tmp_path, left.path), backends) as rig:
        before = children()
        for camera in before - {rig.live.worker.pid}:
            os.kill(camera, signal.SIGSTOP)  # the swap waits until they make the crops of both
        asking = asyncio.create_task(rig.ask("promote", right.path))
        await rig.until(lambda: "the cameras make the crops of both recipes" in rig.steps)
        (worker,) = children() - before
        broken.touch()  # or the next one might be ready in time
        os.kill(worker, signal.SIGKILL)
        await rig.until(lambda: worker not in children())
        for camera in before - {rig.live.worker.pid}:
            os.kill(camera, signal.SIGCONT)

        with pytest.raises(ModelRefused, match=r"its worker was lost: .*the worker's process ended"):
            await asking
        await left_alone(rig, left)
