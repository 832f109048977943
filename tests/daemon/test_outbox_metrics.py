"""What waits for the broker is known while the broker is away, which is when it matters."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from daemon.telemetry.metrics import Metrics
from inspection import clock
from inspection.part import Part, PartId
from inspection.record import Record
from inspection.verdict import Outcome, Reason, Verdict
from transport.mqtt.config import BrokerConfig
from transport.records.config import RecordsConfig
from transport.records.records import Records

TOPIC = "linegate/s/l/x/record"


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(cameras={"x": ("top",)}, deadlines={"x": 1.0}, links=("x", "records"))


def record(number: int, age: float = 0.0) -> Record:
    then = clock.monotonic() - age
    part = Part("x", PartId(str(number)), number, then, then + 1)
    return Record(f"r-{number}", "s", Verdict(part, Outcome.PASS, Reason.SCORE, 0.1, then), (), clock.utc() - age, True)


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return sum(
        sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


@asynccontextmanager
async def running(records: Records) -> AsyncIterator[None]:
    task = asyncio.create_task(records.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled(), task.exception()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.01)


async def test_what_waits_and_for_how_long_is_told_while_the_broker_is_away(
    metrics: Metrics, tmp_path: Path, free_port: int
) -> None:
    records = Records(tmp_path / "outbox.sqlite", BrokerConfig(port=free_port), probe=metrics)
    async with running(records):
        for number in range(1, 4):
            records.keep(record(number, age=60.0), TOPIC)
        await until(lambda: value(metrics, "linegate_outbox_records") == 3)
        first = value(metrics, "linegate_outbox_oldest_age_seconds")
        assert 60 <= first < 90
        await until(lambda: value(metrics, "linegate_outbox_oldest_age_seconds") > first)
        assert 0 < value(metrics, "linegate_outbox_used_ratio") < 0.01
    assert value(metrics, "linegate_broker_connected", link="records") == 0
    assert value(metrics, "linegate_records_stored_total") == 3


async def test_what_waits_in_memory_for_the_disk_counts_too_and_what_overflows_is_lost_by_name(
    metrics: Metrics, tmp_path: Path, free_port: int
) -> None:
    (tmp_path / "file").touch()
    config = RecordsConfig(max_waiting=2)
    path = tmp_path / "file" / "outbox.sqlite"
    records = Records(path, BrokerConfig(port=free_port), config=config, probe=metrics)
    assert records.failure == ""
    async with running(records):
        for number in range(1, 6):
            records.keep(record(number, age=60.0), TOPIC)
        await until(lambda: value(metrics, "linegate_outbox_records") == 2)
        assert value(metrics, "linegate_outbox_oldest_age_seconds") >= 60
        await until(lambda: str(path) in records.failure)
    assert value(metrics, "linegate_records_lost_total", reason="overflow") == 3
    assert value(metrics, "linegate_records_lost_total", reason="shutdown") == 2
    assert value(metrics, "linegate_records_lost_total") == 5


async def test_a_damaged_outbox_is_counted(metrics: Metrics, tmp_path: Path, free_port: int) -> None:
    path = tmp_path / "outbox.sqlite"
    path.write_bytes(b"no database" * 1000)
    async with running(Records(path, BrokerConfig(port=free_port), probe=metrics)):
        await until(lambda: value(metrics, "linegate_records_lost_total", reason="damaged") == 1)
