"""What a daemon is made of follows its configuration."""

import json
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from daemon.assemble import assemble
from daemon.config import load

BUNDLE = Path(__file__).parents[2] / "models" / "bsdata"


async def test_each_station_counts_against_the_deadline_that_its_parts_usually_have(tmp_path: Path) -> None:
    camera = {"kind": "simulated"}
    stations = {
        "asked": {"mode": "triggered", "trigger": {"default_deadline_ms": 330}, "cameras": {"top": camera}},
        "free": {"mode": "free_running", "deadline_ms": 770, "cameras": {"top": camera}},
    }
    place = {"site": "s", "line": "l", "state_dir": "state", "http": {"port": 0}}
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({**place, "model": {"bundle": str(BUNDLE)}, "stations": stations}))

    daemon = assemble(load(path, {}))
    daemon.page.close()

    samples = [s for f in text_string_to_metric_families(daemon.metrics.render().decode()) for s in f.samples]
    deadlines = {s.labels["station"]: s.value for s in samples if s.name == "linegate_deadline_seconds"}
    assert deadlines == {"asked": 0.33, "free": 0.77}
    edges = {s.labels["le"] for s in samples if s.name == "linegate_stage_seconds_bucket"}
    assert {"0.33", "0.77"} <= edges
