"""The checks of conftest.py themselves, on tests that leave something behind."""

import os
import re
import subprocess
import sys
from pathlib import Path

LEAKY = """
import asyncio, os, socket, subprocess, sys, threading
from multiprocessing import shared_memory

kept = []

async def test_tidy():
    await asyncio.create_task(asyncio.sleep(0))
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    with socket.create_server(("127.0.0.1", 0)):
        pass
    segment = shared_memory.SharedMemory(create=True, size=16)
    segment.close()
    segment.unlink()

async def test_task():
    kept.append(asyncio.create_task(asyncio.sleep(60), name="sleeper"))

def test_zombie():
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    kept.append(child)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

def test_process():
    kept.append(subprocess.Popen(["sleep", "60"]))

def test_thread():
    kept.append(threading.Event())
    threading.Thread(target=kept[-1].wait, name="idler", daemon=True).start()

def test_listener():
    kept.append(socket.create_server(("127.0.0.1", 0)))

def test_segment():
    kept.append(shared_memory.SharedMemory(name="linegate-leak", create=True, size=16))

def test_after_all_of_them():
    for child in kept:
        if isinstance(child, subprocess.Popen):
            child.kill()
            child.wait()
        if isinstance(child, shared_memory.SharedMemory):
            child.close()
            child.unlink()
"""


def test_what_a_test_leaves_behind_fails_it_by_name_and_it_alone(tmp_path: Path) -> None:
    conftest = (Path(__file__).parent / "conftest.py").read_text()
    (tmp_path / "conftest.py").write_text(re.sub(r"^GRACE = .*", "GRACE = 0.3", conftest, flags=re.MULTILINE))
    (tmp_path / "test_leaky.py").write_text(LEAKY)
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\naddopts = -rE -p no:cacheprovider\n")
    wide = {**os.environ, "COLUMNS": "400"}
    run = subprocess.run(
        [sys.executable, "-m", "pytest"], capture_output=True, text=True, cwd=tmp_path, env=wide, check=False
    )
    failed = dict(re.findall(r"^ERROR test_leaky\.py::(\w+) - Failed: left behind: (.*)$", run.stdout, re.MULTILINE))
    assert set(failed) == {
        "test_task", "test_zombie", "test_process", "test_thread", "test_listener", "test_segment",
    }, run.stdout  # fmt: skip
    assert "task sleeper" in failed["test_task"]
    assert "zombie" in failed["test_zombie"]
    assert "sleep 60" in failed["test_process"]
    assert "thread idler" in failed["test_thread"]
    assert "listening port" in failed["test_listener"]
    assert "shared memory linegate-leak" in failed["test_segment"]
