"""docs/reference/mqtt.md is the contract: what it prints is what happens."""

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from inspection.part import Label
from inspection.verdict import Outcome, Reason
from transport import triggers, wire
from transport.mqtt.config import BrokerConfig
from transport.wire import Address

if TYPE_CHECKING:
    from tests.transport.conftest import Lab

PAGE = (Path(__file__).parents[2] / "docs/reference/mqtt.md").read_text(encoding="utf-8")
CLIENT_LINES = 50


def example(topic: str) -> dict[str, Any]:
    """The payload printed under a topic's heading."""
    found = re.search(rf"### `…/{topic}`.*?```json\n(.*?)\n```", PAGE, re.DOTALL)
    assert found, topic
    fields: dict[str, Any] = json.loads(found[1])
    return fields


@pytest.mark.parametrize("broker", ["embedded-5"], indirect=True)
async def test_the_client_on_the_page_works_as_it_stands_and_rejects_what_it_cannot_read(
    broker: BrokerConfig, address: Address, tmp_path: Path, lab: "Lab"
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(code.splitlines()) <= CLIENT_LINES
    client = tmp_path / "client.py"
    client.write_text(code, encoding="utf-8")

    def script(n: int) -> tuple[Outcome, Label, int]:
        return [
            (Outcome.PASS, Label.OK, 1),
            (Outcome.FAIL, Label.NG, 1),
            (Outcome.NO_VERDICT, Label.OK, 1),
            (Outcome.PASS, Label.OK, 2),
            (Outcome.PASS, Label.OK, 0),
        ][(n - 1) % 5]

    babbler = (await lab.listen(broker)).connection

    async def babble() -> None:
        while True:
            for body in (b"{}", b"[]", b"7", b"\xff", b'{"trigger":'):
                babbler.publish(address.verdict, body)
            await asyncio.sleep(0.05)

    async with lab.running(lab.answering(broker, address, tmp_path / "outbox", script)):
        babbling = asyncio.create_task(babble())
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(client),
            "127.0.0.1",
            str(broker.port),
            address.prefix,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        babbling.cancel()
        await asyncio.gather(babbling, return_exceptions=True)
    assert process.returncode == 0, err
    assert [line.split()[1] for line in out.decode().splitlines()] == [
        *("open", "reject", "reject", "open", "reject"),
        *("open", "reject", "reject", "open", "reject"),
    ]


def test_the_examples_have_the_fields_that_are_sent(lab: "Lab") -> None:
    verdict = lab.verdict(trigger=lab.trigger(1041))
    at: dict[str, Any] = {"session": lab.session, "utc": 1.0}
    said = {
        "verdict": wire.encode_verdict(verdict, left_s=0.4, **at),
        "refused": wire.encode_refused(1041, "flood", "", **at),
        "state": wire.encode_state("ready", "", "", **at),
        "heartbeat": wire.encode_heartbeat(1, ready=True, **at),
        "record": wire.deliver_record(wire.encode_record(lab.record(1)), historical=False),
    }
    for topic, body in said.items():
        assert list(example(topic)) == list(json.loads(body)), topic
    assert list(example("record")["frames"][0]) == list(json.loads(said["record"])["frames"][0])


def test_the_examples_to_linegate_are_read() -> None:
    request = wire.parse_trigger(json.dumps(example("trigger")).encode())
    assert (request.trigger, request.part, request.window_ms) == (1041, "BS-0001041", 500)
    assert wire.parse_ack(json.dumps(example("ack")).encode()) == example("record")["id"]


def test_every_reason_stands_on_the_page() -> None:
    refusals = [
        *(triggers.MALFORMED, triggers.TOO_LARGE, triggers.DUPLICATE, triggers.EXPIRED),
        *(triggers.WRONG_SESSION, triggers.RETAINED, triggers.FLOOD, triggers.NOT_TRIGGERED),
    ]
    verdicts = [reason for reason in Reason if reason is not Reason.DUPLICATE_TRIGGER]  # that one is a refusal
    assert [reason for reason in [*refusals, *verdicts] if f"`{reason}`" not in PAGE] == []


def test_the_limits_on_the_page_are_those_of_the_code() -> None:
    limits = triggers.TriggerLimits()
    for text in (
        f"at most {wire.MAX_TRIGGER_BYTES} bytes",
        f"**{wire.MAX_VERDICT_BYTES} bytes**",
        f"0..{wire.MAX_ID_INTEGER}",
        f"{wire.MIN_WINDOW_MS}..{wire.MAX_WINDOW_MS}",
        f"1..{wire.SEQ_WRAP}",
        f"{limits.default_deadline_ms} (`trigger.default_deadline_ms`)",
        "`trigger.max_rate_hz`",
        f"{limits.max_rate_hz:g} a second, {limits.burst} at once",
        f"within {limits.remember_s:g} s",
        "among the last 10 000 accepted",
    ):
        assert text.lower() in PAGE.lower(), text
