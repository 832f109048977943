"""A message of any size costs its sender, not the station."""

from typing import TYPE_CHECKING

import pytest

from transport.link import StationLink
from transport.mqtt.config import BrokerConfig
from transport.mqtt.packets import MAX_PACKET_BYTES
from transport.triggers import TriggerDesk, TriggerLimits
from transport.wire import Address

if TYPE_CHECKING:
    from tests.transport.conftest import Lab


@pytest.mark.parametrize("broker", ["mosquitto-5", "mosquitto-3.1.1"], indirect=True)
async def test_a_message_of_megabytes_is_not_kept_and_the_station_goes_on(
    broker: BrokerConfig, address: Address, lab: "Lab", caplog: pytest.LogCaptureFixture
) -> None:
    taken: list[object] = []
    desk = TriggerDesk(address.station, lab.session, TriggerLimits(), probe=lab.ears)
    link = StationLink(broker, address, session=lab.session, triggers=desk, on_trigger=taken.append, probe=lab.ears)
    plc = await lab.listen(broker)
    async with lab.running(link):
        await lab.eventually(lambda: link.connected)
        connection = link._connection
        assert connection is not None
        longest = 0

        def measure(data: bytes) -> None:
            nonlocal longest
            feed(data)
            longest = max(longest, len(connection._client.packets._buffer))

        feed = connection._client.packets.feed
        connection._client.packets.feed = measure  # type: ignore[method-assign]
        plc.connection.publish(address.trigger, b"a" * 8_000_000)
        plc.connection.publish(address.trigger, b'{"trigger":1}')
        await lab.eventually(lambda: len(taken) == 1, 60)
        assert link._connection is connection
    assert longest < 2 * MAX_PACKET_BYTES
    if broker.version == "5":  # the broker was told, and keeps to it
        assert lab.ears.refused == []
    else:
        assert lab.ears.refused == ["too_large"]
        assert "8000" in caplog.text
