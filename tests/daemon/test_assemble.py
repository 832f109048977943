"""What a daemon is made of follows its configuration."""

import asyncio
import errno
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from daemon.assemble import assemble
from daemon.config import Config, load
from daemon.view import readiness
from dashboard.serve import bind
from inspection.errors import ConfigError, LinegateError, UnavailableError
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


async def test_a_camera_that_has_not_failed_yet_is_starting_and_not_lost(tmp_path: Path) -> None:
    camera = {"kind": "simulated"}
    daemon = assemble(configured(tmp_path, {"press": {"mode": "triggered", "cameras": {"top": camera}}}))
    daemon.page.close()
    daemon.models.live.worker.ready.set()
    (unit,) = daemon.units

    assert readiness(daemon, unit) == ("not_ready", "starting")
    unit.cameras["top"].opening = False
    assert readiness(daemon, unit) == ("not_ready", "camera_lost: top")
    unit.cameras["top"].up = True
    assert readiness(daemon, unit) == ("ready", "")


@pytest.mark.parametrize(
    ("host", "error", "told"),
    [
        ("192.0.2.1", UnavailableError, "Cannot assign requested address"),
        ("127.0.0.1", UnavailableError, "Address already in use"),
        ("\N{LATIN SMALL LETTER U WITH DIAERESIS}" * 70, ConfigError, "is no address or name of a host"),
    ],
)
async def test_an_address_that_may_come_is_tried_again_and_one_that_cannot_is_a_mistake(
    host: str, error: type[LinegateError], told: str, tmp_path: Path
) -> None:
    config = configured(tmp_path, {"press": {"mode": "triggered", "cameras": {"top": {"kind": "simulated"}}}})
    with bind("127.0.0.1", 0) as taken:
        http = config.http.model_copy(update={"host": host, "port": taken.getsockname()[1]})
        with pytest.raises(error, match=rf"^http\.(host|port): .*{told}"):
            assemble(config.model_copy(update={"http": http}))


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), UnavailableError),
        (OSError(errno.EACCES, "Permission denied"), ConfigError),
        (OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol"), ConfigError),
    ],
)
async def test_a_name_that_is_not_known_yet_is_tried_again_and_a_forbidden_port_is_a_mistake(
    refusal: OSError, error: type[LinegateError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> socket.socket:
        raise refusal

    monkeypatch.setattr("daemon.assemble.bind", refuse)
    config = configured(tmp_path, {"press": {"mode": "triggered", "cameras": {"top": {"kind": "simulated"}}}})
    with pytest.raises(error, match=r"^http.port: .*cannot be used"):
        assemble(config)


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
