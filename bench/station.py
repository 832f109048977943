"""How fast a whole station is, beside the bare network and the usual script on the same machine.

A real daemon with one triggered station takes gray frames from a simulated camera that has drawn them before,
so that a frame costs nothing, as it does where a camera writes it into memory. Mosquitto carries triggers and
verdicts, the embedded broker where there is none; the PLC is this process. The bare network is the station's backend
in a process of its own. The usual script is OpenCV, PIL, torchvision and torch eager fp32, from the same frames in
memory to scores in memory, with no broker. They work in turns within one run, so that whatever else the machine does
falls on all of them.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench.rig.line import Daemon, Plc, cpu_seconds, means, mosquitto  # noqa: E402
from bench.rig.rivals import BATCH, apart, bare, rate, singles, usual  # noqa: E402
from transport.broker import EmbeddedBroker  # noqa: E402
from vision.bundle import load_bundle  # noqa: E402
from vision.content import with_content_hash  # noqa: E402

BUNDLE = ROOT / "models" / "bsdata"
FRAMES = 16
OPEN = 32  # one batch is computed, one lies ready, one is gathered, and one is on its way
ROUNDS, BARE_S, USUAL_S, FULL_S, CALM_S, BUSY_S = 3, 2.0, 3.0, 6.0, 8.0, 6.0
CALM_HZ, BUSY_SHARE = 5.0, 0.5
LEAST_OF_BARE, LEAST_OF_USUAL, MOST_OF_SINGLE = 0.8, 3.0, 1.5


@dataclass
class Found:
    """Rates by round, times of all rounds together in seconds, stages and CPU in milliseconds."""

    bare: list[float] = field(default_factory=list)
    usual: list[float] = field(default_factory=list)
    usual_batched: list[float] = field(default_factory=list)
    station: list[float] = field(default_factory=list)
    single: list[float] = field(default_factory=list)
    single_rested: list[float] = field(default_factory=list)
    latency: dict[str, list[float]] = field(default_factory=lambda: {"calm": [], "moderate": [], "full": []})
    stages: dict[str, list[dict[str, float]]] = field(default_factory=lambda: {"calm": [], "moderate": []})
    cpu: list[dict[str, float]] = field(default_factory=list)


@dataclass
class Bench:
    """Everything that works in turns."""

    daemon: Daemon
    plc: Plc
    network: Pipe
    script: Pipe
    found: Found = field(default_factory=Found)

    async def one_round(self) -> None:
        found, plc = self.found, self.plc
        before = await _aside(rate, self.network, BATCH, BARE_S)
        spent, parts = cpu_seconds(self.daemon.process.pid), plc.number
        station, latencies = await plc.full(OPEN, FULL_S)
        now, parts = cpu_seconds(self.daemon.process.pid), plc.number - parts
        after = await _aside(rate, self.network, BATCH, BARE_S)
        found.bare.append((before + after) / 2)
        found.station.append(station)
        found.latency["full"] += latencies
        found.cpu.append({name: 1e3 * (now[name] - spent[name]) / parts for name in now})
        found.usual.append(await _aside(rate, self.script, 1, USUAL_S))
        found.usual_batched.append(await _aside(rate, self.script, BATCH, USUAL_S))

        found.single += await _aside(singles, self.network, BARE_S / 2, 0.0)
        await self._paced("calm", CALM_HZ, CALM_S)
        found.single_rested += await _aside(singles, self.network, BARE_S, 1 / CALM_HZ)
        found.single += await _aside(singles, self.network, BARE_S / 2, 0.0)
        await self._paced("moderate", BUSY_SHARE * station, BUSY_S)

    async def _paced(self, load: str, hz: float, seconds: float) -> None:
        before = self.daemon.stages()
        self.found.latency[load] += await self.plc.paced(hz, seconds)
        self.found.stages[load].append(means(before, self.daemon.stages()))


async def _aside(work: Callable[..., Any], *args: object) -> Any:
    return await asyncio.to_thread(work, *args)


async def measure(rounds: int, daemon: Daemon, broker_port: int, network: Pipe, script: Pipe) -> Bench:
    """All rounds, with a PLC that stays connected between them."""
    plc = Plc(broker_port)
    bench = Bench(daemon, plc, network, script)
    async with plc.connected():
        await plc.full(OPEN, 1.0)  # unmeasured: the camera draws its frames
        for _ in range(rounds):
            await bench.one_round()
    return bench


def centre_cropping(folder: Path) -> Path:
    """A bundle as fast as one that was trained with the reference recipe; what it says of a part is worth nothing."""
    bundle = folder / "bundle"
    shutil.copytree(BUNDLE, bundle)
    said = json.loads((bundle / "bundle.json").read_text())
    said["recipe"]["geometry"] = "center_crop"
    (bundle / "bundle.json").write_text(json.dumps(with_content_hash(said)))
    return bundle


def summary(found: Found, unscored: int) -> dict[str, Any]:
    """Every figure of the report; rates in frames/s, times in ms."""
    single, rested = (1e3 * statistics.median(times) for times in (found.single, found.single_rested))
    hz = {"calm": CALM_HZ, "moderate": BUSY_SHARE * statistics.median(found.station)}
    latency = {load: _spread(times) for load, times in found.latency.items()}
    return {
        "cores": os.cpu_count(),
        "rounds": len(found.station),
        "frames_per_s": {
            "bare": statistics.median(found.bare),
            "station": statistics.median(found.station),
            "usual": statistics.median(found.usual),
            "usual_batched": statistics.median(found.usual_batched),
        },
        "ratios": {
            "station_of_bare": _ratio(found.station, found.bare),
            "station_of_usual": _ratio(found.station, found.usual),
            "station_of_usual_batched": _ratio(found.station, found.usual_batched),
            "calm_of_single_rested": latency["calm"]["p50"] / rested,
            "calm_of_single_hot": latency["calm"]["p50"] / single,
        },
        "cpu_ms_a_part": _averages(found.cpu),
        "single_ms": {"hot": single, "rested": rested},
        "latency_ms": latency,
        "paced_hz": hz,
        "stages_ms": {load: _averages(rows) for load, rows in found.stages.items()},
        "unscored": unscored,
    }


def _ratio(station: list[float], rival: list[float]) -> float:
    """The median of the rounds' own ratios."""
    return statistics.median(ours / theirs for ours, theirs in zip(station, rival, strict=True))


def _spread(times: list[float]) -> dict[str, float]:
    ranked = sorted(times)
    at = {f"p{share}": 1e3 * ranked[min(len(ranked) - 1, share * len(ranked) // 100)] for share in (50, 99)}
    return {"parts": len(times), "mean": 1e3 * statistics.fmean(times), **at}


def _averages(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.fmean(row[name] for row in rows) for name in rows[0]}


def show(said: dict[str, Any]) -> None:
    """The report for people."""
    rates, ratios, single = said["frames_per_s"], said["ratios"], said["single_ms"]
    print(f"{said['backend']}, {said['cores']} cores, {said['rounds']} rounds, {said['frames']}")
    print(f"\n{'frames/s':34}{'rate':>8}{'station/it':>12}  target")
    print(f"  {'whole station':32}{rates['station']:8.1f}")
    rows = (
        ("bare", f"bare network, batches of {BATCH}", LEAST_OF_BARE),
        ("usual", "usual script, one by one", LEAST_OF_USUAL),
        ("usual_batched", f"usual script, batches of {BATCH}", None),
    )
    for key, name, least in rows:
        ratio = ratios[f"station_of_{key}"]
        target = "" if least is None else f"  at least {least:g}: {_met(ratio >= least)}"
        print(f"  {name:32}{rates[key]:8.1f}{ratio:12.2f}{target}")
    cpu = said["cpu_ms_a_part"]
    print(f"  CPU of a part, ms: {sum(cpu.values()):.1f} = " + ", ".join(f"{n} {ms:.2f}" for n, ms in cpu.items()))

    print(f"\n{'trigger sent to verdict heard, ms':34}{'parts/s':>8}{'p50':>8}{'p99':>8}{'mean':>8}")
    for load, of in said["latency_ms"].items():
        hz = said["paced_hz"].get(load, rates["station"])
        print(f"  {load:32}{hz:8.1f}{of['p50']:8.1f}{of['p99']:8.1f}{of['mean']:8.1f}")
    print(f"  bare network, one picture: {single['rested']:.1f} after as long a rest, {single['hot']:.1f} without one")
    calm = ratios["calm_of_single_rested"]
    print(
        f"  calm p50 / one picture after a rest: {calm:.2f}  at most {MOST_OF_SINGLE:g}: {_met(calm <= MOST_OF_SINGLE)}"
    )
    print(f"  calm p50 / one picture without a rest: {ratios['calm_of_single_hot']:.2f}")
    for load, stages in said["stages_ms"].items():
        inner = {name: ms for name, ms in stages.items() if name != "total"}
        inner["daemon"] = stages["total"] - sum(inner.values())
        inner["broker and PLC"] = said["latency_ms"][load]["mean"] - stages["total"]
        print(f"  {load}, mean ms: " + ", ".join(f"{name} {ms:.2f}" for name, ms in inner.items()))
    if said["unscored"]:
        print(f"  {said['unscored']} parts got no score and count nowhere")


def _met(met: bool) -> str:
    return "met" if met else "MISSED"


@contextmanager
def embedded() -> Iterator[int]:
    with EmbeddedBroker() as broker:
        yield broker.port


def main() -> int:
    parser = argparse.ArgumentParser(description="A whole station beside its bare network and the usual script.")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each measurement is made")
    parser.add_argument("--size", type=int, nargs=2, default=(1280, 1024), metavar=("W", "H"), help="of a frame")
    parser.add_argument(
        "--demo",
        action="store_true",
        help="the demonstration's own geometry in place of the reference recipe's centre crop",
    )
    parser.add_argument("--embedded", action="store_true", help="the demonstration's embedded broker, not Mosquitto")
    args = parser.parse_args()
    width, height = args.size
    camera = {"kind": "simulated", "width": width, "height": height, "distinct": FRAMES}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # through the stack, so that no process is left
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="linegate-bench-")))
        bundle = BUNDLE if args.demo else centre_cropping(folder)
        in_demo = args.embedded or shutil.which("mosquitto") is None
        broker = embedded() if in_demo else mosquitto(folder)
        port = stack.enter_context(broker)
        daemon = Daemon(folder, bundle, camera, port)
        stack.callback(daemon.stop)
        daemon.await_ready()
        network, backend = stack.enter_context(apart(bare, bundle, daemon.state / "cache"))
        script, _ = stack.enter_context(apart(usual, bundle, camera, FRAMES))
        bench = asyncio.run(measure(args.rounds, daemon, port, network, script))
        frames = f"frames of {width}x{height}, {load_bundle(bundle).recipe.geometry}"
        frames += ", embedded broker" if in_demo else ", Mosquitto"
    said = {"backend": backend, "frames": frames, **summary(bench.found, bench.plc.unscored)}
    if args.json:
        print(json.dumps(said, indent=1))
    else:
        show(said)
    return 0


if __name__ == "__main__":
    sys.exit(main())
