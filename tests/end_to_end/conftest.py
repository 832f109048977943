"""A real daemon in its own process, a real broker, real pictures; only the PLC is a simulator."""

import json
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest

from tests.ports import free_port
from transport.broker import EmbeddedBroker

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "models" / "bsdata"
# A guard for a machine on which everything else runs at the same time; nothing waits that long where all is well.
PATIENCE_S = 180.0
LINEGATE = (sys.executable, "-m", "daemon.cli")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test may start several daemons, one after another."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(4 * PATIENCE_S))


def until(holds: Callable[[], Any], what: str) -> Any:
    """Wait until `holds` answers something true; fail, naming `what`, when it never does."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if answer := holds():
            return answer
        time.sleep(0.05)
    raise AssertionError(f"not within {PATIENCE_S:g} s: {what}")


@dataclass
class Line:
    """One station `press` on a folder camera. Change `settings` before `start`. As a context: nothing outlives it."""

    folder: Path
    broker: EmbeddedBroker
    page: int = field(default_factory=free_port)
    process: "subprocess.Popen[str] | None" = None
    log: str = ""
    _plcs: "list[subprocess.Popen[str]]" = field(default_factory=list)

    def __post_init__(self) -> None:
        camera = {"kind": "folder", "path": str(BUNDLE / "demo" / "manifest.csv"), "rate_hz": 5}
        self.settings: dict[str, Any] = {
            "site": "test",
            "line": "line1",
            "state_dir": str(self.folder / "state"),
            "model": {"bundle": str(BUNDLE), "backend": "onnx-cpu", "threads": 1, "max_batch": 2},
            "mqtt": {"host": "127.0.0.1", "port": self.broker.port},
            "http": {"port": self.page},
            # The margin is for a machine that runs other tests beside this one.
            "stations": {"press": {"mode": "triggered", "answer_margin_ms": 500, "cameras": {"top": camera}}},
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in (*self._plcs, self.process):
            if process is not None and process.poll() is None:
                process.terminate()
                process.communicate(timeout=PATIENCE_S)

    @property
    def config(self) -> Path:
        path = self.folder / "config.yaml"
        path.write_text(json.dumps(self.settings, indent=1))
        return path

    def start(self) -> "Line":
        """Return once the station is ready."""
        with self._log.open("w") as log:
            daemon = subprocess.Popen([*LINEGATE, "run", str(self.config)], cwd=ROOT, stderr=log, text=True)
        self.process = daemon
        until(lambda: self.ready() or daemon.poll() is not None, "the daemon is ready")
        assert daemon.poll() is None, self.told
        return self

    @property
    def _log(self) -> Path:
        return self.folder / "log"

    @property
    def told(self) -> str:
        """The log so far."""
        return self._log.read_text()

    def ready(self) -> bool:
        return self.get("/readyz")[0] == 200

    def get(self, path: str) -> tuple[int, str]:
        """Status and body; 0 while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.page}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metric(self, name: str, **labels: str) -> float:
        """The sum over a metric's series that have these labels."""
        rows = self.get("/metrics")[1].splitlines()
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(
            float(row.rsplit(" ", 1)[1])
            for row in rows
            if row.startswith((f"{name}{{", f"{name} ")) and all(label in row for label in wanted)
        )

    def show(self, picture: str) -> None:
        """Every part is this picture of the demonstration's."""
        folder = self.folder / "pictures"
        folder.mkdir()
        shutil.copy(BUNDLE / "demo" / picture, folder)
        self.settings["stations"]["press"]["cameras"]["top"]["path"] = str(folder)

    def hang_up(self) -> None:
        """SIGHUP: the daemon reads the settings as they are now."""
        assert self.config.exists()
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def plc(self, triggers: int, rate: float, deadline_ms: int = 8000) -> "subprocess.Popen[str]":
        prefix = "linegate/test/line1/press"
        words = ["--prefix", prefix, "--triggers", str(triggers), "--rate", str(rate)]
        plc = subprocess.Popen(
            [*LINEGATE, "plc", "--port", str(self.broker.port), *words, "--deadline-ms", str(deadline_ms), "--json"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._plcs.append(plc)
        return plc

    def played(self, triggers: int, rate: float) -> dict[str, Any]:
        return report(self.plc(triggers, rate))

    def child(self, *, with_model: bool) -> int:
        """The process id of the worker, or of the camera."""
        assert self.process is not None
        for pid in _children(self.process.pid):
            maps = Path(f"/proc/{pid}/maps").read_text()
            command = Path(f"/proc/{pid}/cmdline").read_text()
            if "spawn_main" in command and ("onnxruntime" in maps) == with_model:
                return pid
        raise AssertionError("no such child")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """The exit code; what was told is in `log`."""
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(timeout=PATIENCE_S)
        self.log = self._log.read_text()
        return self.process.returncode


def report(plc: "subprocess.Popen[str]") -> dict[str, Any]:
    out, _ = plc.communicate(timeout=2 * PATIENCE_S)
    told: dict[str, Any] = json.loads(out)
    return told


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    with EmbeddedBroker() as broker, Line(tmp_path, broker) as made:
        yield made
