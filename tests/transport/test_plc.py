"""The reference PLC is an oracle: it has to see each kind of fault."""

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from inspection.part import Label
from inspection.verdict import Outcome
from transport.mqtt.config import BrokerConfig
from transport.plc import Errand, NotReadyError, Plc
from transport.wire import Address

if TYPE_CHECKING:
    from tests.transport.conftest import Lab

KEYS = ["triggers", "pass", "fail", "no_verdict", "late", "missing", "duplicate", "false_pass", "p50_ms", "p99_ms"]
five = pytest.mark.parametrize("broker", ["embedded-5"], indirect=True)


def errand(address: Address, triggers: int = 20, deadline_ms: int = 1000, wait_s: float = 10) -> Errand:
    return Errand(address.prefix, triggers, 100, deadline_ms, wait_s)


async def test_a_sound_station_is_accounted_for_completely(
    broker: BrokerConfig, address: Address, tmp_path: Path, lab: "Lab"
) -> None:
    def script(n: int) -> tuple[Outcome, Label, int]:
        return (Outcome.FAIL, Label.NG, 1) if n % 4 == 0 else (Outcome.PASS, Label.OK, 1)

    async with lab.running(lab.answering(broker, address, tmp_path / "outbox", script)):
        report = await Plc(broker, errand(address)).run()
    assert list(report)[:10] == KEYS
    assert (report["triggers"], report["pass"], report["fail"], report["opened"]) == (20, 15, 5, 15)
    assert (report["labelled"], report["false_pass"], report["late_opens"]) == (20, 0, 0)
    assert report["no_verdict"] == report["refused"] == {}
    assert report["late"] == report["missing"] == report["duplicate"] == 0
    assert 0 < report["p50_ms"] <= report["p99_ms"]


@five
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((Outcome.PASS, Label.NG, 1), {"pass": 5, "false_pass": 5}),
        ((Outcome.FAIL, Label.OK, 1), {"fail": 5, "false_fail": 5}),
        ((Outcome.PASS, Label.OK, 2), {"pass": 5, "duplicate": 5, "opened": 5}),
        ((Outcome.PASS, Label.OK, 0), {"missing": 5, "opened": 0}),
        ((Outcome.NO_VERDICT, Label.OK, 1), {"no_verdict": {"deadline": 5}, "opened": 0}),
    ],
)
async def test_each_fault_is_counted(
    broker: BrokerConfig,
    address: Address,
    tmp_path: Path,
    lab: "Lab",
    *,
    answer: tuple[Outcome, Label, int],
    expected: dict[str, object],
) -> None:
    async with lab.running(lab.answering(broker, address, tmp_path / "outbox", lambda _: answer)):
        report = await Plc(broker, errand(address, 5, deadline_ms=300)).run()
    assert {name: report[name] for name in expected} == expected


@five
async def test_a_pass_after_the_window_opens_nothing(
    broker: BrokerConfig, address: Address, tmp_path: Path, lab: "Lab"
) -> None:
    station = lab.answering(broker, address, tmp_path / "outbox")
    station.delay_s = 0.09
    plc = Plc(broker, errand(address, 3, deadline_ms=100))
    plc._window = 0.05  # this PLC's clock runs out before the station's
    async with lab.running(station):
        report = await plc.run()
    assert (report["late"], report["late_opens"], report["opened"], report["pass"]) == (3, 3, 0, 0)


@five
async def test_a_station_that_never_says_ready_is_named(broker: BrokerConfig, address: Address) -> None:
    with pytest.raises(NotReadyError, match="nobody says"):
        await Plc(broker, errand(address, wait_s=3.0)).run()


def command(broker: BrokerConfig, address: Address, *more: str) -> list[str]:
    code = (
        "import argparse, daemon.commands.plc as plc; top = argparse.ArgumentParser(); "
        "plc.register(top.add_subparsers()); args = top.parse_args(); raise SystemExit(args.run(args))"
    )
    return [sys.executable, "-c", code, "plc", "--port", str(broker.port), "--prefix", address.prefix, *more]


@five
async def test_the_command_prints_one_object_and_ends_with_0(
    broker: BrokerConfig, address: Address, tmp_path: Path, lab: "Lab"
) -> None:
    async with lab.running(lab.answering(broker, address, tmp_path / "outbox")):
        process = await asyncio.create_subprocess_exec(
            *command(broker, address, "--triggers", "5", "--rate", "50", "--json"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
    assert process.returncode == 0, err
    assert json.loads(out)["pass"] == 5


@five
async def test_the_command_says_what_it_waits_for(broker: BrokerConfig, address: Address) -> None:
    process = await asyncio.create_subprocess_exec(
        *command(broker, address, "--triggers", "5"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    lines = [await process.stdout.readline()]
    while b"nobody says" not in lines[-1]:
        lines.append(await process.stdout.readline())
        assert lines[-1], lines
    process.send_signal(signal.SIGINT)
    await process.communicate()
    assert b"waiting: no broker: not connected" in lines[0]
    assert f"waiting: nobody says {address.prefix}/state".encode() in lines[-1]
    assert b"None" not in b"".join(lines)
    assert process.returncode == 1, "nothing was sent, so that nothing was proven"


async def test_the_cause_of_a_broker_that_does_not_answer_is_named(address: Address) -> None:
    with pytest.raises(NotReadyError, match=r"no broker: 127\.0\.0\.1:1: .*refused.*; waited 1 s"):
        await Plc(BrokerConfig(host="127.0.0.1", port=1), errand(address, wait_s=1)).run()


@five
async def test_ctrl_c_ends_with_the_account_so_far(
    broker: BrokerConfig, address: Address, tmp_path: Path, lab: "Lab"
) -> None:
    async with lab.running(lab.answering(broker, address, tmp_path / "outbox")):
        process = await asyncio.create_subprocess_exec(
            *command(broker, address, "--triggers", "100000", "--rate", "50"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        await lab.eventually(lambda: lab.ears.stored > 3)
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert process.returncode == 0, err
    assert b"triggers" in out
    assert b"sent " in out
