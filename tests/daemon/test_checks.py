"""What a configuration names is looked at before a line depends on it."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from daemon.checks import inspect
from daemon.config import load
from inspection.errors import ConfigError
from vision.content import with_content_hash

BUNDLE = Path(__file__).parents[2] / "models" / "bsdata"


def test_a_part_whose_crops_could_never_all_wait_is_refused(tmp_path: Path) -> None:
    cameras = {name: {"kind": "simulated"} for name in ("left", "right")}
    place = {"site": "s", "line": "l", "state_dir": "state", "model": {"bundle": str(BUNDLE), "max_waiting": 1}}
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({**place, "stations": {"press": {"mode": "triggered", "cameras": cameras}}}))

    with pytest.raises(ConfigError, match=r"model\.max_waiting: a part of station press gives 2 crops"):
        inspect(load(path, {}))
    assert inspect(load(path, {"LINEGATE_MODEL__MAX_WAITING": "2"})).golden


def test_weights_that_cannot_score_are_refused_though_their_sum_is_right(tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(BUNDLE, tmp_path / "bundle", ignore=shutil.ignore_patterns("demo")))
    weights = {**load_file(bundle / "weights.safetensors"), "fc.bias": np.array([0, np.nan], np.float32)}
    (bundle / "weights.safetensors").write_bytes(save(weights))
    manifest = json.loads((bundle / "bundle.json").read_text())
    content = (bundle / "weights.safetensors").read_bytes()
    facts = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    manifest["files"]["weights.safetensors"] = facts
    (bundle / "bundle.json").write_text(json.dumps(with_content_hash(manifest)))
    path = tmp_path / "config.yaml"
    stations = {"press": {"mode": "triggered", "cameras": {"top": {"kind": "simulated"}}}}
    path.write_text(
        json.dumps(
            {"site": "s", "line": "l", "state_dir": "state", "model": {"bundle": "bundle"}, "stations": stations}
        )
    )

    with pytest.raises(ConfigError, match=r"model\.bundle: .*fc\.bias holds values that are not finite: train again"):
        inspect(load(path, {}))
