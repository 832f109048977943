"""Models that are replaced on a running line: by the command line, over MQTT, and while the daemon is killed."""

import json
import os
import select
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from daemon.asking import ask
from inspection.errors import ModelRefused
from tests.end_to_end.conftest import BUNDLE, LINEGATE, PATIENCE_S, ROOT, Line, report, until
from vision.content import with_content_hash

PREFIX = "linegate/test/line1/press"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another model by its hash, with another recipe: the same network."""
    return like_the_first(tmp_path / "library" / "other")


def like_the_first(path: Path, *, resize: int = 1, thresholds: Mapping[str, float] | None = None) -> Path:
    shutil.copytree(BUNDLE, path, ignore=shutil.ignore_patterns("demo"))
    manifest = json.loads((path / "bundle.json").read_text())
    manifest["recipe"]["resize"] += resize
    manifest["thresholds"] |= thresholds or {}
    manifest["created_at"] = "2026-11-25T00:00:00+00:00"
    (path / "bundle.json").write_text(json.dumps(with_content_hash(manifest)))
    return path


def linegate(line: Line, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [*LINEGATE, *words, "--config", str(line.folder / "config.yaml")]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False)


def live(line: Line) -> str:
    rows = line.get("/metrics")[1].splitlines()
    (row,) = [row for row in rows if row.startswith("linegate_model_info{")]
    return row.partition('hash="')[2][:12]


def test_a_promotion_costs_no_part_a_rollback_neither_and_a_refusal_says_why(line: Line, other: Path) -> None:
    line.start()
    first = live(line)
    plc = line.plc(60, 5)
    until(lambda: line.metric("linegate_verdicts_total") > 5, "the line runs")

    promoted = linegate(line, "promote", str(other), "--json")
    back = linegate(line, "rollback")

    told = report(plc)
    assert (told["missing"], told["late"], told["duplicate"]) == (0, 0, 0), told
    assert promoted.returncode == 0, promoted.stderr
    second = json.loads(promoted.stdout)
    assert second["before"] == first != second["model"]
    assert "judges every part from now on" in promoted.stderr
    assert back.stdout == f"{first} is live; before it {second['model']} was.\n"
    assert line.metric("linegate_parts_captured_total") == line.metric("linegate_verdicts_total") == told["triggers"]
    assert line.metric("linegate_commands_total", result="done") == 2

    (other / "golden" / "000-ok.jpg").unlink()
    refused = linegate(line, "promote", str(other))
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].startswith(f"linegate: {other}/golden/000-ok.jpg: No such file")
    assert live(line) == first


def test_a_daemon_killed_in_the_middle_of_a_promotion_starts_with_one_of_the_two(line: Line, other: Path) -> None:
    line.start()
    first = live(line)
    asking = threading.Thread(target=linegate, args=(line, "promote", str(other)))
    asking.start()
    until(lambda: any((line.folder / "state" / "models").glob("*")), "the bundle is being kept")

    assert line.stop(signal.SIGKILL) == -signal.SIGKILL
    asking.join(PATIENCE_S)

    line.start()
    assert live(line) == first
    assert linegate(line, "promote", str(other)).returncode == 0
    second = live(line)
    assert second != first

    os.kill(line.child(with_model=False), signal.SIGSTOP)  # the swap waits until it makes the crops of both
    steps: list[str] = []
    asking = threading.Thread(target=rolled_back, args=(line, steps.append))
    asking.start()
    until(lambda: "the cameras make the crops of both recipes" in steps, "the other worker is warm")
    assert line.stop(signal.SIGKILL) == -signal.SIGKILL
    asking.join(PATIENCE_S)

    assert live(line.start()) == second


def rolled_back(line: Line, tell: Callable[[str], None]) -> None:
    with suppress(ModelRefused):  # the daemon is killed meanwhile
        ask(line.folder / "state", {"command": "rollback"}, tell)


def test_a_candidate_scores_in_the_shadow_of_a_running_line(line: Line) -> None:
    twin = like_the_first(line.folder / "twin", resize=0)
    line.start()

    assert linegate(line, "shadow", str(twin)).returncode == 0

    told = line.played(5, 5)
    until(lambda: line.metric("linegate_shadow_parts_total", result="same") == told["triggers"], "they agree")
    assert json.loads(linegate(line, "shadow", "--report", "--json").stdout)["disagreements"] == []


@contextmanager
def results(line: Line) -> Iterator["subprocess.Popen[str]"]:
    words = ["mosquitto_sub", "-p", str(line.broker.port), "-t", f"{PREFIX}/command/result"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as hearing:
        try:
            until(lambda: hears(line, hearing), "somebody hears what comes of commands")
            yield hearing
        finally:
            hearing.terminate()


def hears(line: Line, hearing: "subprocess.Popen[str]") -> bool:
    """Whether it has subscribed: mosquitto_sub itself does not tell before there is a message."""
    assert hearing.stdout is not None
    published(line, "command/result", state="running")
    return bool(select.select([hearing.stdout], [], [], 0.2)[0])


def published(line: Line, topic: str, **fields: Any) -> None:
    sent(line, topic, json.dumps(fields).encode())


def sent(line: Line, topic: str, payload: bytes) -> None:
    words = ["mosquitto_pub", "-p", str(line.broker.port), "-q", "1", "-t", f"{PREFIX}/{topic}", "-s"]
    subprocess.run(words, input=payload, check=True)


def asked(line: Line, hearing: "subprocess.Popen[str]", **fields: Any) -> dict[str, Any]:
    """What came of a command."""
    published(line, "command", **fields)
    return told(hearing)


def told(hearing: "subprocess.Popen[str]") -> dict[str, Any]:
    """The next that came of a command."""
    assert hearing.stdout is not None
    while True:
        result: dict[str, Any] = json.loads(hearing.stdout.readline())
        if result["state"] != "running":
            return result


def test_over_mqtt_only_bundles_of_the_library_can_be_promoted(line: Line, other: Path) -> None:
    like_the_first(line.folder / "elsewhere")
    (other.parent / "link").symlink_to(line.folder / "elsewhere")
    (other.parent / "loop").symlink_to("loop")
    line.settings["model"]["library"] = str(other.parent)
    line.start()
    first = live(line)
    with results(line) as hearing:
        refused = asked(line, hearing, command="promote", bundle="other", session="00000000")
        session = refused["session"]
        assert (refused["state"], refused["model"]) == ("refused", first)
        nothing = "no such bundle"
        for bundle, why in {
            "../elsewhere": "name of a folder",
            "link": nothing,
            "loop": nothing,
            "none": nothing,
        }.items():
            refused = asked(line, hearing, command="promote", bundle=bundle, session=session, id="1")
            assert why in refused["detail"]
        done = asked(line, hearing, command="promote", bundle="other", session=session, id="17")
        assert (done["state"], done["id"], done["command"]) == ("done", "17", "promote")
        assert done["model"] == live(line) != first
        assert line.metric("linegate_commands_total", command="promote", result="refused") == 3  # link, loop and none
        assert asked(line, hearing, command="rollback", session=session)["model"] == first
        for garbage in (b" ", b"\xff\x00", b"[" * 1000, b'{"command":"promote"'):
            sent(line, "command", garbage)
            assert told(hearing)["state"] == "refused"
        assert live(line) == first
