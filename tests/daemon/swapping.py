"""A whole daemon in this process, on simulated backends: what is tried on it are models that take each other's place.

Its one picture is dark on the left and bright on the right. The recipe of a bundle looks at one side, and the backend's
score is the brightness that it sees: so a score tells by which recipe its crop was made.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from daemon.asking import ask
from daemon.assemble import assemble
from daemon.config import Config, load
from daemon.model import Model, Voice
from daemon.supervise import Supervisor
from inspection import clock
from inspection.part import Label, PartId, Trigger
from inspection.probe import Probe
from inspection.verdict import Verdict
from vision.backends.simulated import Simulated
from vision.batching import Batcher
from vision.bundle import Bundle, Thresholds
from vision.priority import Pace
from vision.recipe import Recipe
from vision.weights import resnet18_shapes
from vision.worker import Worker
from vision.write import write_bundle

DARK, BRIGHT = 51, 204
LEFT, RIGHT = (0, 0, 40, 40), (40, 0, 40, 40)
PATIENCE_S = 60.0


def draw_bundle(
    path: Path,
    side: tuple[int, int, int, int],
    *,
    golden: bool = True,
    note: str = "",
    pass_below: float = 0.4,
    good: int = DARK,
    bad: int = BRIGHT,
) -> Bundle:
    """A bundle without a network worth the name, whose golden parts are the two sides of the picture.

    `good` and `bad` are their tones, where they are others.
    """
    recipe = Recipe(enhance="none", roi=side, geometry="squash", resize=32, size=32)
    parts = [("ok", Label.OK, good), ("ng", Label.NG, bad)] if golden else []
    files = []
    path.parent.mkdir(parents=True, exist_ok=True)
    for name, label, tone in parts:
        file = path.parent / f"{name}.png"
        cv2.imwrite(str(file), np.full((80, 80), tone, np.uint8))
        files.append((file, label, tone / 255))
    return write_bundle(
        path,
        recipe=recipe,
        thresholds=Thresholds(pass_below, max(pass_below, 0.6)),
        temperature=1.0,
        tensors={name: np.zeros(shape, np.float32) for name, shape in resnet18_shapes().items()},
        metrics={"note": note},
        data_hash="0" * 64,
        golden=files,
        golden_crops=[np.full(recipe.crop_shape, tone, np.uint8) for _, _, tone in parts],
    )


@dataclass
class Ear:
    """The PLC of a station: hears what it is told."""

    link: Any
    heard: list[Verdict] = field(default_factory=list)

    def say(self, verdict: Verdict) -> bool:
        self.heard.append(verdict)
        return bool(self.link.say(verdict))


@dataclass
class Rig:
    """The running daemon. `backends` says, by model id, how a backend behaves; a plain one where it is silent."""

    config: Config
    supervisor: Supervisor
    backends: dict[str, Simulated]
    ears: dict[str, Ear]
    triggers: int = 0

    @property
    def live(self) -> Model:
        return self.supervisor.daemon.models.live

    def trigger(self, station: str = "asked", window: float = PATIENCE_S) -> None:
        self.triggers += 1
        now = clock.monotonic()
        wanted = Trigger(self.triggers, PartId(str(self.triggers)), now, now + window, int(window * 1000))
        self.unit(station).station.trigger(wanted)

    def unit(self, name: str) -> Any:
        return next(unit for unit in self.supervisor.daemon.units if unit.name == name)

    async def ask(self, command: str, bundle: Path | None = None, **more: Any) -> dict[str, Any]:
        """By the socket, as the command line does. Raises ModelRefused."""
        wish = {"command": command, **({"bundle": str(bundle)} if bundle else {}), **more}
        return dict(await asyncio.to_thread(ask, self.config.state_dir, wish, self.steps.append))

    steps: list[str] = field(default_factory=list)

    async def until(self, holds: Callable[[], Any]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                await asyncio.sleep(0.005)

    async def judged(self, station: str = "asked") -> Verdict:
        """One more part."""
        count = len(self.ears[station].heard)
        self.trigger(station)
        await self.until(lambda: len(self.ears[station].heard) > count)
        return self.ears[station].heard[-1]

    def account(self, station: str) -> tuple[int, int]:
        account = self.supervisor.daemon.metrics.account(station)
        return account.captured, sum(account.verdicts.values())


def configured(folder: Path, bundle: Path, **model: Any) -> Config:
    """A triggered station `asked` with two cameras and a free-running one, on the one picture."""
    pictures = folder / "pictures"
    pictures.mkdir(exist_ok=True)
    picture = np.full((80, 80), DARK, np.uint8)
    picture[:, 40:] = BRIGHT
    cv2.imwrite(str(pictures / "both.png"), picture)
    camera = {"kind": "folder", "path": str(pictures), "rate_hz": 50, "stall_timeout_s": PATIENCE_S}
    settings = {
        "site": "s",
        "line": "l",
        "state_dir": str(folder / "state"),
        "model": {"bundle": str(bundle), "max_batch": 4, **model},
        "mqtt": {"port": 1, "connect_timeout_s": 0.1},
        "http": {"port": 0},
        "stations": {
            "asked": {"mode": "triggered", "max_open": 1000, "cameras": {"one": camera, "two": camera}},
            "free": {"mode": "free_running", "deadline_ms": 60000, "max_open": 4096, "cameras": {"top": camera}},
        },
    }
    file = folder / "config.yaml"
    file.write_text(json.dumps(settings))
    return load(file, {})


@asynccontextmanager
async def running(config: Config, backends: dict[str, Simulated] | None = None) -> AsyncIterator[Rig]:
    """Ready when it is entered, ended in order when it is left."""
    behaviours = backends if backends is not None else {}

    def simulated(
        config: Config, bundle: Bundle, thresholds: Thresholds, metrics: Probe, *, pace: Pace = Pace.FULL
    ) -> Model:
        voice = Voice(metrics)
        opener = behaviours.get(bundle.model_id, Simulated()).open
        worker = Worker(opener, crop_shape=(1, 32, 32), max_batch=4, probe=voice, model=bundle.model_id, pace=pace)
        batcher = Batcher(worker, max_batch=4, max_waiting=4096, probe=voice)
        return Model(bundle, thresholds, worker=worker, batcher=batcher, voice=voice, opener=lambda _: opener)

    config.state_dir.mkdir(exist_ok=True)
    daemon = assemble(config, make_model=simulated)
    ears = {unit.name: Ear(unit.link) for unit in daemon.units}
    for unit in daemon.units:
        unit.station._teller = ears[unit.name]
    supervisor = Supervisor(daemon)
    stop = asyncio.Event()
    main = asyncio.create_task(supervisor.run(stop, lambda: config), name="daemon")
    rig = Rig(config, supervisor, behaviours, ears)
    try:
        cameras = [camera for unit in daemon.units for camera in unit.cameras.values()]
        await rig.until(lambda: main.done() or (rig.live.worker.ready.is_set() and all(c.up for c in cameras)))
        yield rig
    finally:
        stop.set()
        async with asyncio.timeout(PATIENCE_S):
            await main


def children() -> set[int]:
    """Processes that this one has started."""
    with suppress(FileNotFoundError):
        return {
            int(pid)
            for thread in Path("/proc/self/task").iterdir()
            for pid in (thread / "children").read_text().split()
        }
    return set()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
