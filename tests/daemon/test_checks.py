"""What a configuration names is looked at before a line depends on it."""

import json
from pathlib import Path

import pytest

from daemon.checks import inspect
from daemon.config import load
from inspection.errors import ConfigError

BUNDLE = Path(__file__).parents[2] / "models" / "bsdata"


def test_a_part_whose_crops_could_never_all_wait_is_refused(tmp_path: Path) -> None:
    cameras = {name: {"kind": "simulated"} for name in ("left", "right")}
    place = {"site": "s", "line": "l", "state_dir": "state", "model": {"bundle": str(BUNDLE), "max_waiting": 1}}
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({**place, "stations": {"press": {"mode": "triggered", "cameras": cameras}}}))

    with pytest.raises(ConfigError, match=r"model\.max_waiting: a part of station press gives 2 crops"):
        inspect(load(path, {}))
    assert inspect(load(path, {"LINEGATE_MODEL__MAX_WAITING": "2"})).golden
