"""The file with the broker's password may change, or go, while parts move."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from transport.link import StationLink
from transport.mqtt.config import BrokerConfig
from transport.records.records import Records
from transport.wire import Address

if TYPE_CHECKING:
    from tests.transport.conftest import Lab


async def test_a_password_that_cannot_be_read_costs_the_broker_and_not_the_daemon(
    tmp_path: Path, address: Address, lab: "Lab", caplog: pytest.LogCaptureFixture
) -> None:
    broker = BrokerConfig(port=1, username="linegate", password_file=tmp_path / "gone")
    link = StationLink(broker, address, session="cafe0123", triggers=None, on_trigger=lambda _: None, probe=lab.ears)
    records = Records(tmp_path / "outbox.sqlite", broker, name="records", probe=lab.ears)
    running = [asyncio.create_task(link.run()), asyncio.create_task(records.run())]
    try:
        async with asyncio.timeout(20):
            while sum("gone cannot be read" in record.message for record in caplog.records) < 2:
                await asyncio.sleep(0.01)
        assert not any(task.done() for task in running)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
