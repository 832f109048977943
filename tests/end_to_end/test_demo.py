"""`make run` without make: the demonstration as a newcomer meets it."""

import json
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import BUNDLE, LINEGATE, PATIENCE_S, ROOT, until
from tests.ports import free_port
from tests.terminal import Terminal


class Demo:
    """The demonstration, told to use a port that is taken."""

    def __init__(self, taken: int) -> None:
        words = ["demo", "--mqtt-port", str(taken), "--http-port", str(free_port()), "--backend", "onnx-cpu"]
        self.process = subprocess.Popen([*LINEGATE, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self.told = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.told += line

    def said(self, pattern: str) -> str:
        """The first group of `pattern` in what was told so far, or nothing."""
        found = re.search(pattern, self.told)
        return found[1] if found else ""

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        code = self.process.wait(PATIENCE_S)
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@pytest.fixture
def demo() -> Iterator[Demo]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        made = Demo(taken.getsockname()[1])
        yield made
        made.stop()


def linegate(*words: str) -> dict[str, Any]:
    ended = subprocess.run([*LINEGATE, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=100, check=False)
    told: dict[str, Any] = json.loads(ended.stdout)
    return told


def test_every_picture_of_the_demo_is_judged_as_evaluate_says(demo: Demo) -> None:
    expected = linegate("evaluate", str(BUNDLE), str(BUNDLE / "demo"), "--backend", "onnx-cpu", "--json")
    until(lambda: demo.said(r"(ready) after"), "the demonstration is ready")
    port = demo.said(r"port \d+ is taken: MQTT is on (\d+) instead")

    told = linegate("plc", "--port", port, "--triggers", "100", "--deadline-ms", "5000", "--json")

    assert (told["triggers"], told["missing"], told["late"], told["duplicate"]) == (100, 0, 0, 0), told
    assert told["labelled"] == 100
    assert told["false_pass"] == expected["confusion"]["escaped"]
    assert told["pass"] == expected["confusion"]["escaped"] + expected["confusion"]["ok_passed"]
    assert demo.stop() == 0
    assert "every open part was answered" in demo.told


def test_a_closed_terminal_ends_the_demo(tmp_path: Path) -> None:
    words = ["demo", "--mqtt-port", str(free_port()), "--http-port", str(free_port()), "--backend", "onnx-cpu"]
    terminal = Terminal([*LINEGATE, *words], tmp_path)
    until(lambda: "ready after" in terminal.said, "the demonstration is ready")
    children = children_of(terminal.process.pid)
    assert children
    terminal.close()
    assert terminal.process.wait(PATIENCE_S) == 0
    until(lambda: not any(Path(f"/proc/{child}").exists() for child in children), "its children have ended")


def children_of(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]
