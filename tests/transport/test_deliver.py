"""Records: kept, delivered in order, at least once."""

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from inspection.errors import StoreError
from inspection.verdict import Outcome, Reason
from transport.mqtt.config import BrokerConfig
from transport.records.config import RecordsConfig
from transport.records.entry import Entry
from transport.records.records import Records
from transport.wire import Address

if TYPE_CHECKING:
    from tests.transport.conftest import Lab

five = pytest.mark.parametrize("broker", ["mosquitto-5"], indirect=True)


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


@five
async def test_a_record_whose_commit_ends_too_late_gives_way_to_that_of_the_verdict_that_was_told(
    broker: BrokerConfig, address: Address, tmp_path: Path, lab: "Lab"
) -> None:
    keeper = await lab.listen(broker, address.record)
    path = tmp_path / "outbox.sqlite"
    records = Records(path, broker, probe=lab.ears)
    async with lab.running(records):
        records.keep(lab.record(1), address.record)
        await keeper.until(1, address.record)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")  # the commit has begun and cannot be stopped
        late = asyncio.create_task(records.kept(lab.record(2), address.record))
        await lab.eventually(lambda: records._being_written == 1)
        late.cancel()
        await asyncio.gather(late, return_exceptions=True)
        other.rollback()
        other.close()
        await lab.eventually(lambda: lab.ears.stored == 2)
        told = lab.record(2, outcome=Outcome.NO_VERDICT, reason=Reason.STORE_FAILED, score=None)
        records.keep(told, address.record)
        records.keep(lab.record(3), address.record)
        arrived = await keeper.until(3, address.record)
        await lab.eventually(lambda: lab.ears.delivered == 3)
    assert [(r["seq"], r["verdict"]) for r in arrived] == [(1, "PASS"), (2, "NO_VERDICT"), (3, "PASS")]


async def test_an_error_of_the_disk_leaves_nothing_of_a_record_that_its_caller_was_refused(
    address: Address, tmp_path: Path, free_port: int, lab: "Lab"
) -> None:
    """A commit may fail after it has reached the disk."""
    path = tmp_path / "outbox.sqlite"
    records = Records(path, BrokerConfig(port=free_port), probe=lab.ears)
    add = records._outbox.add

    def reaches_the_disk_and_fails(entries: list[Entry], *, without: tuple[str, ...] = ()) -> None:
        add(entries, without=without)
        raise StoreError("I/O error")

    async with lab.running(records):
        records._outbox.add = reaches_the_disk_and_fails  # type: ignore[method-assign,assignment]
        with pytest.raises(StoreError):
            await records.kept(lab.record(1), address.record)
        records._outbox.add = add  # type: ignore[method-assign]
        told = lab.record(1, outcome=Outcome.NO_VERDICT, reason=Reason.STORE_FAILED, score=None)
        records.keep(told, address.record)
        await lab.eventually(lambda: lab.ears.stored == 1)
        other = sqlite3.connect(path)
        stored = [json.loads(body)["verdict"] for (body,) in other.execute("SELECT body FROM records")]
        other.close()
    assert stored == ["NO_VERDICT"]
