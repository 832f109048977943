"""The demonstration: a configuration, a broker and a line of text a second around the ordinary daemon."""

import asyncio
import json
import os
import socket
import sys
import tempfile
from pathlib import Path

from camera.manifest import read_manifest
from daemon import logs, shipped
from daemon.assemble import assemble
from daemon.config import Config, load
from daemon.lock import held
from daemon.supervise import Supervisor, until_signalled
from dashboard.serve import bind
from inspection import clock
from inspection.errors import ConfigError
from inspection.verdict import Outcome
from transport.broker import EmbeddedBroker

HOST = "127.0.0.1"
STATIONS = {"raceway": "triggered", "raceway-live": "free_running"}


class Demo:
    """Everything that `make run` starts. Ports that are taken are replaced by free ones."""

    def __init__(self, *, mqtt_port: int, http_port: int, models: Path | None, backend: str, log_level: str) -> None:
        self._bundle = (models or shipped.models()) / "bsdata"
        self._manifest = self._bundle / "demo" / "manifest.csv"
        if not self._manifest.is_file():
            raise ConfigError(f"--models: {self._bundle} holds no demo pictures; name the folder that has bsdata/demo")
        self._page = _bind(http_port)
        self._mqtt_port = _free(mqtt_port)
        self._wanted = {"MQTT": (mqtt_port, self._mqtt_port), "page": (http_port, self._page.getsockname()[1])}
        self._backend = backend
        self._log_level = log_level
        self._began = clock.monotonic()

    def run(self) -> None:
        """Until Ctrl-C, SIGTERM or the end of the terminal."""
        with tempfile.TemporaryDirectory(prefix="linegate-demo-") as folder:
            path = Path(folder) / "config.yaml"
            path.write_text(json.dumps(self._settings(Path(folder)), indent=2))
            config = load(path)
            logs.set_up(config.log.level, config.log.format)
            self._introduce()
            with EmbeddedBroker(port=self._mqtt_port), held(config.state_dir):
                asyncio.run(self._main(config))

    async def _main(self, config: Config) -> None:
        supervisor = Supervisor(assemble(config, page=self._page))
        narrator = asyncio.create_task(self._narrate(supervisor), name="narrator")
        try:
            await until_signalled(supervisor, reread=None)
        finally:
            narrator.cancel()
        _say("\nended: every open part was answered.")

    def _settings(self, state: Path) -> dict[str, object]:
        camera = {"kind": "folder", "path": str(self._manifest), "rate_hz": 2.0}
        return {
            "site": "demo",
            "line": "line1",
            "state_dir": str(state / "state"),
            "model": {"bundle": str(self._bundle), "backend": self._backend},
            "mqtt": {"host": HOST, "port": self._mqtt_port},
            "log": {"level": self._log_level},
            "stations": {name: {"mode": mode, "cameras": {"top": camera}} for name, mode in STATIONS.items()},
        }

    def _introduce(self) -> None:
        _say("linegate demo: ball-screw raceways (pictures: BSData, CC BY-SA 4.0), inspected by a ResNet18")
        for what, (wanted, got) in self._wanted.items():
            if wanted != got:
                _say(f"  port {wanted} is taken: {what} is on {got} instead")
        mqtt, page = self._mqtt_port, self._page.getsockname()[1]
        _say(f"  page      http://{HOST}:{page}/   also /metrics, /healthz, /readyz")
        _say(f"  verdicts  mosquitto_sub -h {HOST} -p {mqtt} -v -t 'linegate/demo/line1/+/verdict'")
        _say(f"  your PLC  {Path(sys.argv[0])} plc --port {mqtt} --triggers 200")
        _say("  Ctrl-C ends it. The model is being loaded ...")

    async def _narrate(self, supervisor: Supervisor) -> None:
        """One line that is kept up to date on a terminal, or a line each ten seconds in a file."""
        daemon, live = supervisor.daemon, sys.stdout.isatty()
        model = daemon.models.live
        await model.worker.ready.wait()
        _say(f"  ready after {clock.monotonic() - self._began:.1f} s on {model.worker.backend_name}")
        tally = next(unit.station.tally for unit in daemon.units if unit.name == "raceway-live")
        pictures, told, passed = len(read_manifest(self._manifest).rows), 0.0, False
        while True:
            await asyncio.sleep(0.1)
            agreement = tally.agreement
            if agreement is None:
                continue
            judged = agreement.ok + agreement.ng
            wrong = agreement.escapes + agreement.overkill
            if live or clock.monotonic() - told > 10:
                told = clock.monotonic()
                _say(self._line(supervisor, judged, wrong), end="" if live else "\n")
            if judged >= pictures and not passed:
                passed = True
                tested = model.bundle.metrics["test"]
                _say(
                    f"\n  one pass of the {pictures} pictures: accuracy {1 - wrong / judged:.3f}, "
                    f"{agreement.escapes} escapes of {agreement.ng}, {agreement.overkill} overkill of {agreement.ok} "
                    f"(the bundle's test split: accuracy {tested['accuracy']:.3f}, escape {tested['escape']:.3f}, "
                    f"overkill {tested['overkill']:.3f})"
                )

    def _line(self, supervisor: Supervisor, judged: int, wrong: int) -> str:
        station = next(s for s in supervisor.view.snapshot().stations if s.name == "raceway-live")
        count = {outcome: sum(c.count for c in station.counts if c.outcome is outcome) for outcome in Outcome}
        return (
            f"\r  raceway-live: {station.captured} parts, {count[Outcome.PASS]} PASS, {count[Outcome.FAIL]} FAIL, "
            f"{count[Outcome.NO_VERDICT]} NO_VERDICT; {judged - wrong} of {judged} as labelled; "
            f"p50 {station.p50_ms or 0:.0f} ms "
        )


def _say(text: str, end: str = "\n") -> None:
    try:
        sys.stdout.write(text + end)
        sys.stdout.flush()
    except OSError:  # the terminal was closed, or the reader of the pipe has gone: the line goes on without
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a descriptor is wanted
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _bind(port: int) -> socket.socket:
    try:
        return bind(HOST, port)
    except OSError:
        return bind(HOST, 0)


def _free(port: int) -> int:
    with _bind(port) as probe:
        taken: int = probe.getsockname()[1]
    return taken
