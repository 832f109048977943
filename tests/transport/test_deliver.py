"""Records: kept, delivered in order, at least once."""

import asyncio
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from transport.mqtt.config import BrokerConfig
from transport.records.config import RecordsConfig
from transport.records.records import Records
from transport.wire import Address

if TYPE_CHECKING:
    from tests.transport.conftest import Lab


async def test_records_arrive_in_order_and_leave_the_outbox(
    broker: BrokerConfig, address: Address, tmp_path: Path, lab: "Lab"
) -> None:
    keeper = await lab.listen(broker, address.record)
    records = Records(tmp_path / "outbox.sqlite", broker, probe=lab.ears)
    async with lab.running(records):
        for number in range(1, 51):
            records.keep(lab.record(number), address.record)
        arrived = await keeper.until(50, address.record)
        await lab.eventually(lambda: lab.ears.delivered == 50)
    assert [r["seq"] for r in arrived] == list(range(1, 51))
    assert lab.ears.stored == 50


async def test_a_record_is_kept_until_its_consumer_says_so(
    broker: BrokerConfig, address: Address, tmp_path: Path, lab: "Lab"
) -> None:
    keeper = await lab.listen(broker, address.record)
    config = RecordsConfig(await_ack=True, ack_timeout_s=0.2)
    records = Records(tmp_path / "outbox.sqlite", broker, config=config, ack_topics=[address.ack], probe=lab.ears)
    async with lab.running(records):
        await lab.eventually(lambda: ("records", True) in lab.ears.links)
        records.keep(lab.record(1), address.record)
        records.keep(lab.record(2), address.record)
        first = (await keeper.until(4, address.record))[:4]
        for identity in {r["id"] for r in first}:
            keeper.connection.publish(address.ack, b'{"id":"%s"}' % identity.encode())
        await lab.eventually(lambda: lab.ears.delivered == 2)
    assert [r["seq"] for r in first] == [1, 2, 1, 2]
    assert [r["historical"] for r in first] == [False, False, True, True]


async def test_a_record_that_nobody_waits_for_any_more_is_not_stored(
    address: Address, tmp_path: Path, free_port: int, lab: "Lab"
) -> None:
    path = tmp_path / "outbox.sqlite"
    records = Records(path, BrokerConfig(port=free_port), probe=lab.ears)
    async with lab.running(records):
        records.keep(lab.record(1), address.record)
        await lab.eventually(lambda: lab.ears.stored == 1)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")  # the next commit has to wait
        records.keep(lab.record(2), address.record)
        await lab.eventually(lambda: records._being_written == 1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await records.kept(lab.record(3), address.record)
        assert records.backlog == 1
        other.rollback()
        records.keep(lab.record(4), address.record)
        await lab.eventually(lambda: lab.ears.stored == 3)
        stored = other.execute("SELECT id FROM records ORDER BY n").fetchall()
        other.close()
    assert [identity.rpartition("-")[2] for (identity,) in stored] == ["1", "2", "4"]
