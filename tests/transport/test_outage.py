"""The broker goes and comes back: nothing live is sent late, no record is lost."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from transport.link import StationLink
from transport.mqtt.config import BrokerConfig
from transport.records.records import Records
from transport.wire import Address

if TYPE_CHECKING:
    from tests.transport.conftest import Lab, Mosquitto

versions = pytest.mark.parametrize("version", ["5", "3.1.1"])


def config(broker: "Mosquitto | Proxy", version: str = "5", keepalive_s: int = 1) -> BrokerConfig:
    return BrokerConfig.model_validate({"port": broker.port, "version": version, "keepalive_s": keepalive_s})


def quiet_link(broker: BrokerConfig, address: Address, lab: "Lab") -> StationLink:
    return StationLink(broker, address, session=lab.session, triggers=None, on_trigger=lambda _: None, probe=lab.ears)


@versions
async def test_the_verdicts_of_an_outage_are_never_sent_and_its_records_all_arrive_in_order(
    own_broker: "Mosquitto", address: Address, tmp_path: Path, lab: "Lab", *, version: str
) -> None:
    link = quiet_link(config(own_broker, version), address, lab)
    records = Records(tmp_path / "outbox", config(own_broker, version), name="records", probe=lab.ears)
    async with lab.running(link, records):
        await lab.eventually(lambda: link.connected)
        own_broker.stop()
        await lab.eventually(lambda: not link.connected)
        for number in range(1, 51):
            assert not link.say(lab.verdict(seq=number, window_s=60))
            records.keep(lab.record(number), address.record)
        await lab.eventually(lambda: lab.ears.stored == 50)
        own_broker.start()
        plc = await lab.listen(config(own_broker, version, 60), address.verdict, address.record)
        delivered = await plc.until(50, address.record)
        await lab.eventually(lambda: link.connected and lab.ears.delivered == 50)
        assert link.say(lab.verdict(seq=51))
        await plc.until(1, address.verdict)
    assert [said["seq"] for said in delivered] == list(range(1, 51))
    assert all(said["historical"] for said in delivered)
    assert [said["seq"] for said in plc.on(address.verdict)] == [51]
    assert lab.ears.late == 50


class Proxy:
    """A TCP proxy whose two directions can be cut without either end being told: a half-open connection."""

    def __init__(self, upstream: int) -> None:
        self.port, self._upstream = 0, upstream
        self.to_broker, self.to_client = asyncio.Event(), asyncio.Event()
        self.to_broker.set()
        self.to_client.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._client, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        self._writers += [writer, up_writer]
        for source, sink, gate in ((reader, up_writer, self.to_broker), (up_reader, writer, self.to_client)):
            task = asyncio.create_task(self._pump(source, sink, gate))
            self._tasks.add(task)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, gate: asyncio.Event) -> None:
        while data := await source.read(65_536):
            await gate.wait()
            sink.write(data)
        sink.close()


@pytest.fixture
async def proxy(open_mosquitto: "Mosquitto") -> AsyncIterator[Proxy]:
    proxy = Proxy(open_mosquitto.port)
    await proxy.start()
    yield proxy
    await proxy.stop()


async def test_a_half_open_connection_is_noticed_and_replaced(proxy: Proxy, address: Address, lab: "Lab") -> None:
    link = quiet_link(config(proxy), address, lab)
    async with lab.running(link):
        await lab.eventually(lambda: link.connected)
        proxy.to_broker.clear()
        proxy.to_client.clear()
        await lab.eventually(lambda: not link.connected, 15)
        proxy.to_broker.set()
        proxy.to_client.set()
        await lab.eventually(lambda: link.connected, 15)


async def test_verdicts_are_dropped_while_the_broker_acknowledges_nothing(
    proxy: Proxy, address: Address, lab: "Lab"
) -> None:
    link = quiet_link(config(proxy, keepalive_s=30), address, lab)
    async with lab.running(link):
        await lab.eventually(lambda: link.connected)
        proxy.to_client.clear()
        assert link.say(lab.verdict(seq=1))
        await lab.eventually(lambda: not link.say(lab.verdict(seq=2)))
        assert link.connected
        assert lab.ears.late == 1
        proxy.to_client.set()
        await lab.eventually(lambda: link.say(lab.verdict(seq=3)))
