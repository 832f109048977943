"""What a daemon is made of follows its configuration."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from daemon.assemble import assemble
from daemon.config import Config, load
from transport.broker import EmbeddedBroker

BUNDLE = Path(__file__).parents[2] / "models" / "bsdata"


@pytest.fixture
def embedded() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


def configured(folder: Path, stations: dict[str, Any]) -> Config:
    place = {"site": "s", "line": "l", "state_dir": "state", "http": {"port": 0}}
    path = folder / "config.yaml"
    path.write_text(json.dumps({**place, "model": {"bundle": str(BUNDLE)}, "stations": stations}))
    return load(path, {})


async def test_each_station_counts_against_the_deadline_that_its_parts_usually_have(tmp_path: Path) -> None:
    camera = {"kind": "simulated"}
    stations = {
        "asked": {"mode": "triggered", "trigger": {"default_deadline_ms": 330}, "cameras": {"top": camera}},
        "free": {"mode": "free_running", "deadline_ms": 770, "cameras": {"top": camera}},
    }
    daemon = assemble(configured(tmp_path, stations))
    daemon.page.close()

    samples = [s for f in text_string_to_metric_families(daemon.metrics.render().decode()) for s in f.samples]
    deadlines = {s.labels["station"]: s.value for s in samples if s.name == "linegate_deadline_seconds"}
    assert deadlines == {"asked": 0.33, "free": 0.77}
    edges = {s.labels["le"] for s in samples if s.name == "linegate_stage_seconds_bucket"}
    assert {"0.33", "0.77"} <= edges


async def test_two_daemons_of_a_line_do_not_take_each_others_connections(
    tmp_path: Path, embedded: EmbeddedBroker
) -> None:
    daemons = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        station = {"mode": "triggered", "cameras": {"top": {"kind": "simulated"}}}
        config = configured(tmp_path / name, {name: station})
        broker = config.mqtt.model_copy(update={"port": embedded.port})
        daemons.append(assemble(config.model_copy(update={"mqtt": broker})))
        daemons[-1].page.close()
    jobs: list[asyncio.Task[None]] = []
    try:
        for daemon in daemons:
            jobs += [asyncio.create_task(run()) for run in (daemon.records.run, daemon.units[0].link.run)]
            async with asyncio.timeout(30):
                while not (daemon.metrics.records_link_up and daemon.units[0].link.connected):
                    await asyncio.sleep(0.01)
        # The broker ends an older connection before it answers the newer one.
        assert all(daemon.metrics.records_link_up and daemon.units[0].link.connected for daemon in daemons)
    finally:
        for job in jobs:
            job.cancel()
        await asyncio.wait(jobs)
