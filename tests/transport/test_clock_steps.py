"""The wall clock is set while records wait: nothing of it shows in what is delivered."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from inspection import clock
from transport.mqtt.config import BrokerConfig
from transport.records.records import Records
from transport.wire import Address

if TYPE_CHECKING:
    from tests.transport.conftest import Lab, Mosquitto


@pytest.mark.parametrize("step_s", [-3600.0, 3600.0])
async def test_a_clock_that_steps_makes_no_record_historical(
    own_broker: "Mosquitto",
    address: Address,
    tmp_path: Path,
    lab: "Lab",
    monkeypatch: pytest.MonkeyPatch,
    *,
    step_s: float,
) -> None:
    broker = BrokerConfig(port=own_broker.port)
    keeper = await lab.listen(broker, address.record)
    records = Records(tmp_path / "outbox.sqlite", broker, probe=lab.ears)
    ages: list[float] = []
    monkeypatch.setattr(lab.ears, "outbox", lambda _depth, age, _used: ages.append(age))
    wall = clock.utc
    async with lab.running(records):
        await lab.eventually(lambda: ("records", True) in lab.ears.links)
        records.keep(lab.record(1), address.record)
        await keeper.until(1, address.record)
        monkeypatch.setattr(clock, "utc", lambda: wall() + step_s)
        records.keep(lab.record(2), address.record)
        await keeper.until(2, address.record)
        await lab.eventually(lambda: lab.ears.delivered == 2)
        own_broker.stop()
        await lab.eventually(lambda: lab.ears.links[-1] == ("records", False))
        records.keep(lab.record(3), address.record)
        monkeypatch.setattr(clock, "utc", wall)
        seen = len(ages)
        await lab.eventually(lambda: len(ages) > seen + 1)
        own_broker.start()
        keeper_again = await lab.listen(broker, address.record)
        late = await keeper_again.until(1, address.record)
    assert [record["historical"] for record in keeper.on(address.record)] == [False, False]
    assert [record["historical"] for record in late] == [True], "it is from before this connection"
    assert max(ages) < 600


async def test_a_record_of_an_earlier_run_is_historical_also_where_the_clock_was_set_back_between(
    own_broker: "Mosquitto",
    address: Address,
    tmp_path: Path,
    lab: "Lab",
    monkeypatch: pytest.MonkeyPatch,
    *,
    free_port: int,
) -> None:
    earlier = Records(tmp_path / "outbox.sqlite", BrokerConfig(port=free_port), probe=lab.ears)
    async with lab.running(earlier):
        earlier.keep(lab.record(1), address.record)
        await lab.eventually(lambda: lab.ears.stored == 1)
    monkeypatch.setattr(clock, "_BEGAN", clock._BEGAN - 3600)
    broker = BrokerConfig(port=own_broker.port)
    keeper = await lab.listen(broker, address.record)
    async with lab.running(Records(tmp_path / "outbox.sqlite", broker, probe=lab.ears)):
        (record,) = await keeper.until(1, address.record)
    assert record["historical"]
