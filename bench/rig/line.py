"""A line to measure: the daemon in its own process, and a PLC that counts and times its verdicts."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from transport.message import Incoming
from transport.mqtt.config import BrokerConfig
from transport.mqtt.connection import BrokerError, Connection

ROOT = Path(__file__).parents[2]
PREFIX = "linegate/bench/line1/press"
DEADLINE_MS = 5000
STAGES = ("capture", "prepare", "queue", "infer", "publish", "total")
Stages = dict[str, tuple[float, float]]


class Daemon:
    """`linegate run` with one triggered station."""

    def __init__(self, folder: Path, bundle: Path, camera: dict[str, Any], broker_port: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._page = int(probe.getsockname()[1])
        self.state = folder / "state"
        press = {"mode": "triggered", "trigger": {"max_rate_hz": 10_000}, "cameras": {"top": camera}}
        settings = {
            "site": "bench",
            "line": "line1",
            "state_dir": str(self.state),
            "model": {"bundle": str(bundle)},
            "mqtt": {"port": broker_port},
            "http": {"port": self._page},
            "log": {"level": "error"},
            "stations": {"press": press},
        }
        config = folder / "config.yaml"
        config.write_text(json.dumps(settings))
        self.process = subprocess.Popen([sys.executable, "-m", "daemon.cli", "run", str(config)], cwd=ROOT)

    def await_ready(self) -> None:
        end = time.monotonic() + 60
        while True:
            try:
                self._get("/readyz")
            except OSError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise
                time.sleep(0.1)
            else:
                return

    def stages(self) -> Stages:
        """By stage: seconds spent and parts counted, since the start."""
        rows = dict(row.rsplit(" ", 1) for row in self._get("/metrics").splitlines() if "_stage_seconds_" in row)
        name = 'linegate_stage_seconds_{}{{stage="{}",station="press"}}'
        return {s: (float(rows[name.format("sum", s)]), float(rows[name.format("count", s)])) for s in STAGES}

    def _get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._page}{path}", timeout=5) as answer:
            text: str = answer.read().decode()
            return text

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait()


def means(before: Stages, after: Stages) -> dict[str, float]:
    """Mean milliseconds in each stage between two readings."""
    return {s: 1e3 * (after[s][0] - before[s][0]) / max(after[s][1] - before[s][1], 1) for s in STAGES}


class Plc:
    """Triggers out, verdicts in. A latency is from a trigger's publish to its verdict's callback, in seconds."""

    def __init__(self, broker_port: int) -> None:
        self.unscored = 0
        self.number = 0
        self._sent: dict[int, float] = {}
        self._latencies: list[float] = []
        self._keep_open = False
        self._connection = Connection(BrokerConfig(port=broker_port), "bench-plc", link="plc", on_message=self._heard)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        alive: asyncio.Task[None] | None = None
        try:
            await self._connection.open()
            await self._connection.subscribe(f"{PREFIX}/verdict")
            alive = asyncio.create_task(self._keep_alive())
            yield
        finally:
            if alive is not None:
                alive.cancel()
            await self._connection.close()
            self._connection.abort()

    def _heard(self, message: Incoming) -> None:
        now = time.monotonic()
        said = json.loads(message.payload)
        began = self._sent.pop(said["trigger"], None)
        if began is None:
            return
        if said["verdict"] == "NO_VERDICT":
            self.unscored += 1
        else:
            self._latencies.append(now - began)
        if self._keep_open:
            self._ask()

    def _ask(self) -> None:
        self.number += 1
        self._sent[self.number] = time.monotonic()
        body = b'{"trigger":%d,"deadline_ms":%d}' % (self.number, DEADLINE_MS)
        self._connection.publish(f"{PREFIX}/trigger", body)

    async def _keep_alive(self) -> None:
        await self._connection.lost.wait()
        raise BrokerError(self._connection.why_lost)

    async def full(self, open_parts: int, seconds: float) -> tuple[float, list[float]]:
        """As much as the station can do, so many parts at a time: scored parts a second, and their latencies."""
        self._keep_open = True
        for _ in range(open_parts - len(self._sent)):
            self._ask()
        await asyncio.sleep(1.0)  # until the pipeline is full
        self._latencies, began = [], time.monotonic()
        await asyncio.sleep(seconds)
        took, found = time.monotonic() - began, self._latencies
        self._latencies, self._keep_open = [], False
        await self._answered()
        return len(found) / took, found

    async def paced(self, hz: float, seconds: float) -> list[float]:
        """Latencies of parts that come one after another."""
        self._latencies = []
        due = time.monotonic()
        for _ in range(round(hz * seconds)):
            due += 1 / hz
            await asyncio.sleep(due - time.monotonic())
            self._ask()
        await self._answered()
        return self._latencies

    async def _answered(self) -> None:
        """Wait for the open parts; one that is not answered by its deadline never will be, and counts as unscored."""
        end = time.monotonic() + DEADLINE_MS / 1000 + 1
        while self._sent and time.monotonic() < end:  # noqa: ASYNC110 - setting an event would take time from the parts
            await asyncio.sleep(0.02)
        self.unscored += len(self._sent)
        self._sent.clear()


@contextmanager
def mosquitto(folder: Path) -> Iterator[int]:
    """A Mosquitto on loopback, as most lines have one; its port. Needs the package of that name."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n")
    child = subprocess.Popen(["mosquitto", "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        while child.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield port
    finally:
        child.terminate()
        child.wait()


def cpu_seconds(daemon: int) -> dict[str, float]:
    """CPU time until now of everything that takes part in a verdict, this process as the PLC included."""
    spent = {"PLC": time.process_time()}
    broker = next(pid for pid in _tree(os.getpid()) if _is_broker(Path(f"/proc/{pid}/cmdline").read_text()))
    for top, name in ((daemon, "daemon"), (broker, "broker")):
        for pid in _tree(top):
            place = Path(f"/proc/{pid}")
            user, system = place.joinpath("stat").read_text().rpartition(")")[2].split()[11:13]
            maps = place.joinpath("maps").read_text()
            does = name if pid == top else "worker" if "openvino" in maps or "onnxruntime" in maps else "camera"
            spent[does] = spent.get(does, 0.0) + (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return spent


def _is_broker(command: str) -> bool:
    return command.startswith("mosquitto\0") or "transport.broker" in command


def _tree(pid: int) -> list[int]:
    children = [int(c) for t in Path(f"/proc/{pid}/task").iterdir() for c in (t / "children").read_text().split()]
    return [pid, *(below for child in children for below in _tree(child))]
