"""Every command ends in an answer and in the count: done, refused, or failed by a fault of ours."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from inspection.errors import ModelRefused
from inspection.verdict import Outcome
from tests.daemon.swapping import Rig, configured, running
from vision.bundle import Bundle


def counted(rig: Rig, command: str) -> Mapping[str, int]:
    rows = rig.supervisor.view.metrics().decode().splitlines()
    series = {
        result: f'linegate_commands_total{{command="{command}",result="{result}"}} '
        for result in ("done", "refused", "failed")
    }
    return {name: int(float(row.split()[-1])) for name, key in series.items() for row in rows if row.startswith(key)}


async def test_every_command_is_counted_by_how_it_ended(tmp_path: Path, left: Bundle) -> None:
    async with running(configured(tmp_path, left.path)) as rig:
        assert counted(rig, "unlearn") == {"done": 0, "refused": 0, "failed": 0}
        await rig.ask("relearn", station="asked")
        with pytest.raises(ModelRefused, match="no such station"):
            await rig.ask("relearn", station="elsewhere")
        with pytest.raises(ModelRefused, match="absolute path"):
            await rig.ask("promote", Path("relative"))
        assert counted(rig, "relearn") == {"done": 1, "refused": 1, "failed": 0}
        assert counted(rig, "promote") == {"done": 0, "refused": 1, "failed": 0}


@pytest.mark.parametrize("command", ["relearn", "unlearn", "shadow_counts", "shadow_off"])
async def test_a_fault_of_ours_in_a_command_is_told_and_counted_and_the_line_goes_on(
    tmp_path: Path, left: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, command: str
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    async with running(configured(tmp_path, left.path)) as rig:
        daemon = rig.supervisor.daemon
        owners = {
            "relearn": daemon.drift,
            "unlearn": daemon.drift,
            "flush": daemon.shadow.journal,
            "end": daemon.shadow,
        }
        with monkeypatch.context() as patch:
            for name, owner in owners.items():
                patch.setattr(owner, name, broken)
            with pytest.raises(ModelRefused, match="internal error; the daemon's log"):
                await rig.ask(command, station="asked")
        assert counted(rig, command) == {"done": 0, "refused": 0, "failed": 1}
        assert "a fault of ours" in caplog.text
        assert (await rig.judged()).outcome is Outcome.PASS
