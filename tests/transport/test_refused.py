"""A record that somebody refuses is kept, and holds up no other."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from inspection import backoff
from inspection.errors import StoreError
from transport.mqtt.config import BrokerConfig
from transport.records import delivery, retries
from transport.records.config import RecordsConfig
from transport.records.entry import Entry, Row
from transport.records.outbox import Outbox
from transport.records.records import Records
from transport.wire import Address

if TYPE_CHECKING:
    from tests.transport.conftest import Lab, Mosquitto, StartMosquitto

PRESS, PACK = Address("demo", "line1", "press"), Address("demo", "line1", "pack")


@pytest.fixture
def strict(tmp_path: Path, start_mosquitto: "StartMosquitto") -> "Iterator[Mosquitto]":
    """A broker on which the line for pack's records was forgotten."""
    acl = tmp_path / "acl"
    acl.write_text(f"topic readwrite {PRESS.record}\ntopic readwrite {PACK.verdict}\n")
    broker = start_mosquitto(tmp_path, "user root", "allow_anonymous true", f"acl_file {acl}")
    yield broker
    broker.stop()


def config(broker: "Mosquitto") -> BrokerConfig:
    return BrokerConfig(port=broker.port, keepalive_s=2)


async def test_a_refused_record_is_set_aside_and_the_others_arrive_once(
    strict: "Mosquitto", tmp_path: Path, lab: "Lab", caplog: pytest.LogCaptureFixture
) -> None:
    keeper = await lab.listen(config(strict), PRESS.record)
    records = Records(tmp_path / "outbox", config(strict), probe=lab.ears)
    async with lab.running(records):
        for number in range(1, 41):
            records.keep(lab.record(number), PACK.record if number % 2 else PRESS.record)
        await lab.eventually(lambda: lab.ears.delivered == 20 and lab.ears.aside == 20)
        assert records.owed == 0
        assert [seq["seq"] for seq in keeper.on(PRESS.record)] == list(range(2, 41, 2))
    assert lab.ears.refused_records == ["broker"] * 20
    assert lab.ears.links == [("records", True), ("records", False)], "the connection has stayed"
    told = [line.getMessage() for line in caplog.records if PACK.record in line.getMessage()]
    assert len(told) == 1
    assert "the broker refuses it" in told[0]


async def test_a_refused_record_outlives_a_restart_and_is_delivered_once_the_broker_takes_it(
    strict: "Mosquitto", own_broker: "Mosquitto", tmp_path: Path, lab: "Lab", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "RETRY_S", 0.05)
    records = Records(tmp_path / "outbox", config(strict), probe=lab.ears)
    async with lab.running(records):
        for number in range(1, 11):
            records.keep(lab.record(number), PACK.record)
        await lab.eventually(lambda: lab.ears.aside == 10)
    keeper = await lab.listen(config(own_broker), PACK.record)
    records = Records(tmp_path / "outbox", config(own_broker), probe=lab.ears)
    async with lab.running(records):
        arrived = await keeper.until(10, PACK.record)
        await lab.eventually(lambda: lab.ears.delivered == 10 and lab.ears.aside == 0)
    assert [record["seq"] for record in arrived] == list(range(1, 11))
    assert all(record["historical"] for record in arrived)


async def test_a_topic_that_is_refused_still_is_tried_seldom(
    strict: "Mosquitto", tmp_path: Path, lab: "Lab", monkeypatch: pytest.MonkeyPatch
) -> None:
    records = Records(tmp_path / "outbox", config(strict), probe=lab.ears)
    async with lab.running(records):
        for number in range(1, 31):
            records.keep(lab.record(number), PACK.record)
        await lab.eventually(lambda: lab.ears.aside == 30)
        sent: list[int] = []
        send = delivery.Delivery.send

        def counted(self: delivery.Delivery, row: "Row", *, earlier: bool) -> None:
            sent.append(row.n)
            send(self, row, earlier=earlier)

        monkeypatch.setattr(delivery.Delivery, "send", counted)
        monkeypatch.setattr(records._sender._retries, "_due", 0.0)
        records.keep(lab.record(100), PRESS.record)
        await lab.eventually(lambda: lab.ears.delivered == 1 and records._sender._retries._due > 0)
    assert [n for n in sent if n < 0] == [-1, -2, -3]


async def test_a_record_upon_which_the_broker_ends_the_connection_is_set_aside(
    tmp_path: Path, lab: "Lab", start_mosquitto: "StartMosquitto", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "FLOOR_S", 0.02)
    broker = start_mosquitto(tmp_path, "allow_anonymous true", "max_packet_size 3000")
    try:
        keeper = await lab.listen(config(broker), PRESS.record)
        records = Records(tmp_path / "outbox", BrokerConfig(port=broker.port, version="3.1.1"), probe=lab.ears)
        for number in range(1, 21):
            record = lab.record(number)
            if number == 8:
                record.stages.update({f"stage-{n}": 0.1 for n in range(300)})
            records.keep(record, PRESS.record)
        async with lab.running(records):
            await lab.eventually(lambda: lab.ears.aside == 1 and lab.ears.delivered == 19, 30)
        assert lab.ears.refused_records == ["connection"]
        assert {record["seq"] for record in keeper.on(PRESS.record)} == {*range(1, 21)} - {8}
    finally:
        broker.stop()


@pytest.mark.parametrize("limit", ["max_packet_size 3000", "message_size_limit 3000"])
async def test_a_station_all_of_whose_records_end_the_connection_holds_up_no_other(
    limit: str, tmp_path: Path, lab: "Lab", start_mosquitto: "StartMosquitto", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "FLOOR_S", 0.02)
    broker = start_mosquitto(tmp_path, "allow_anonymous true", limit)
    version = "3.1.1" if "packet" in limit else "5"  # so mosquitto ends the connection and does not say why
    try:
        records = Records(tmp_path / "outbox", BrokerConfig(port=broker.port, version=version), probe=lab.ears)
        for number in range(1, 41):
            record = lab.record(number)
            if number % 2:
                record.stages.update({f"stage-{n}": 0.1 for n in range(300)})
            records.keep(record, PACK.record if number % 2 else PRESS.record)
        async with lab.running(records):
            await lab.eventually(lambda: lab.ears.aside == 20 and lab.ears.delivered == 20, 30)
        assert lab.ears.links.count(("records", True)) < 12
    finally:
        broker.stop()


def test_the_size_that_ends_a_connection_is_forgotten_once_the_broker_takes_it() -> None:
    sizes = retries.LethalSizes()

    def row(size: int, topic: str = PACK.record) -> Row:
        return Row(1, Entry("a", topic, b"x" * size, 0.0))

    sizes.blamed(row(900))
    assert not sizes.holds(row(900)), "one may have been there by chance"
    sizes.blamed(row(700))
    assert [sizes.holds(row(size)) for size in (699, 700, 2000)] == [False, True, True]
    assert not sizes.holds(row(2000, PRESS.record))
    sizes.arrived([row(699)])
    assert sizes.holds(row(700))
    sizes.arrived([row(800)])
    assert not sizes.holds(row(2000))


async def test_a_record_that_is_larger_than_the_broker_says_is_set_aside_unsent(
    tmp_path: Path, lab: "Lab", start_mosquitto: "StartMosquitto", caplog: pytest.LogCaptureFixture
) -> None:
    broker = start_mosquitto(tmp_path, "allow_anonymous true", "max_packet_size 3000")
    try:
        records = Records(tmp_path / "outbox", BrokerConfig(port=broker.port), probe=lab.ears)
        for number in range(1, 21):
            record = lab.record(number)
            if number % 2:
                record.stages.update({f"stage-{n}": 0.1 for n in range(300)})
            records.keep(record, PRESS.record)
        async with lab.running(records):
            await lab.eventually(lambda: lab.ears.aside == 10 and lab.ears.delivered == 10)
        assert lab.ears.refused_records == ["broker"] * 10
        assert lab.ears.links.count(("records", True)) == 1
        assert "more than the broker takes (3000)" in caplog.text
    finally:
        broker.stop()


async def test_a_record_that_its_consumer_never_acknowledges_is_set_aside(
    own_broker: "Mosquitto", tmp_path: Path, lab: "Lab"
) -> None:
    keeper = await lab.listen(config(own_broker), PRESS.record)
    settings = RecordsConfig(await_ack=True, ack_timeout_s=0.1)
    records = Records(tmp_path / "outbox", config(own_broker), config=settings, ack_topics=[PRESS.ack], probe=lab.ears)

    def acknowledge() -> bool:
        for record in keeper.on(PRESS.record):
            if record["seq"] != 3:
                keeper.connection.publish(PRESS.ack, b'{"id":"%s"}' % record["id"].encode())
        return lab.ears.delivered == 5 and lab.ears.aside == 1

    async with lab.running(records):
        for number in range(1, 7):
            records.keep(lab.record(number), PRESS.record)
        await lab.eventually(acknowledge)
    assert lab.ears.refused_records == ["consumer"]
    assert [record["seq"] for record in keeper.on(PRESS.record)].count(3) == delivery.MAX_SENDS


async def test_a_station_whose_consumer_is_away_holds_up_no_other(
    own_broker: "Mosquitto", tmp_path: Path, lab: "Lab"
) -> None:
    keeper = await lab.listen(config(own_broker), PRESS.record)
    settings = RecordsConfig(await_ack=True, ack_timeout_s=0.2)
    records = Records(
        tmp_path / "outbox", config(own_broker), config=settings, ack_topics=[PRESS.ack, PACK.ack], probe=lab.ears
    )
    told: set[str] = set()

    def acknowledge() -> bool:
        for record in keeper.on(PRESS.record):
            if record["id"] not in told:
                told.add(record["id"])
                keeper.connection.publish(PRESS.ack, b'{"id":"%s"}' % record["id"].encode())
        return lab.ears.delivered == 10

    async with lab.running(records):
        for number in range(1, 301):
            records.keep(lab.record(number), PRESS.record if number > 290 else PACK.record)
        await lab.eventually(acknowledge)
        await lab.eventually(lambda: lab.ears.aside == 290)
    assert lab.ears.lost == 0


async def test_what_has_arrived_is_not_sent_again_because_the_disk_is_full(
    own_broker: "Mosquitto", tmp_path: Path, lab: "Lab"
) -> None:
    keeper = await lab.listen(config(own_broker), PRESS.record)
    records = Records(tmp_path / "outbox", config(own_broker), probe=lab.ears)
    remove, full = records._outbox.remove, True

    def refusing(rows: "list[Row]") -> None:
        if full:
            raise StoreError("database or disk is full")
        remove(rows)

    records._outbox.remove = refusing  # type: ignore[method-assign,assignment]
    async with lab.running(records):
        for number in range(1, 31):
            records.keep(lab.record(number), PRESS.record)
        await lab.eventually(lambda: lab.ears.delivered == 30)
        own_broker.stop()
        await lab.eventually(lambda: ("records", False) in lab.ears.links)
        own_broker.start()
        await lab.eventually(lambda: lab.ears.links[-1] == ("records", True))
        keeper = await lab.listen(config(own_broker), PRESS.record)
        assert records.owed == 0
        full = False
        records.keep(lab.record(31), PRESS.record)
        assert [record["seq"] for record in await keeper.until(1, PRESS.record)] == [31]
        await lab.eventually(lambda: records._outbox.depth == 0)


def test_records_that_are_set_aside_make_room_for_new_ones(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "o", max_bytes=2**19)
    refused = 0
    for number in range(600):
        outbox.add([Entry(f"r{number}", PACK.record, b"x" * 1000, 1.0)])
        row = outbox.after(0, 1)
        outbox.set_aside(row)
        refused += 1
    assert outbox.given_up > 0
    assert outbox.aside == refused - outbox.given_up
    kept = outbox.aside_after(0, 1000)
    assert [row.entry.id for row in kept] == [f"r{n}" for n in range(outbox.given_up, 600)], "the oldest have gone"
    outbox.add([Entry(f"n{number}", PRESS.record, b"x" * 1000, 1.0) for number in range(100)])
    assert len(outbox.after(0, 1000)) == 100
    outbox.close()


async def test_the_last_rows_of_a_topic_get_their_turn_too() -> None:
    rounds = retries.Retries()
    outbox = [Row(-n, Entry(f"r{n}", PACK.record, b"", 1.0)) for n in range(1, 8)]
    tried: list[int] = []
    for _ in range(3):
        rounds._due = 0.0
        while rounds.wanted():
            row = rounds.choose([row for row in outbox if row.n < rounds.cursor] if rounds.cursor else outbox)
            if row is not None:
                tried.append(row.n)
                rounds.refused(row)
    assert tried == [-1, -2, -3, -4, -5, -6, -7]
    await asyncio.sleep(0)


async def test_records_that_a_full_disk_keeps_in_memory_are_not_owed_to_the_broker(
    own_broker: "Mosquitto", tmp_path: Path, lab: "Lab", monkeypatch: pytest.MonkeyPatch
) -> None:
    records = Records(tmp_path / "outbox", config(own_broker), config=RecordsConfig(max_waiting=50), probe=lab.ears)
    monkeypatch.setattr("transport.records.records._RETRY_S", 0.01)
    add, full = records._outbox.add, True

    def refusing(entries: list[Entry], *, without: tuple[str, ...] = ()) -> None:
        if full:
            raise StoreError("database or disk is full")
        add(entries, without=without)

    records._outbox.add = refusing  # type: ignore[method-assign,assignment]
    async with lab.running(records):
        await lab.eventually(lambda: ("records", True) in lab.ears.links)
        for number in range(1, 101):
            records.keep(lab.record(number), PRESS.record)
        await lab.eventually(lambda: "full" in records.failure)
        assert (records.backlog, records.owed, lab.ears.lost) == (50, 0, 50)
        full = False
        await lab.eventually(lambda: lab.ears.delivered == 50)
        assert records.failure == ""


async def test_a_disk_that_hangs_is_a_failure_that_has_a_name(
    own_broker: "Mosquitto", tmp_path: Path, lab: "Lab", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transport.records.records._HANGS_S", 0.05)
    records = Records(tmp_path / "outbox", config(own_broker), probe=lab.ears)
    free = threading.Event()
    try:
        async with lab.running(records):
            await lab.eventually(lambda: ("records", True) in lab.ears.links)
            records._disk.submit(free.wait)
            records.keep(lab.record(1), PRESS.record)
            await lab.eventually(lambda: "has not answered" in records.failure)
            assert records.owed == 0
            free.set()
            await lab.eventually(lambda: lab.ears.delivered == 1 and not records.failure)
    finally:
        free.set()
