"""What linegate weighs without torch: on disk, in memory, and until it is ready.

Uses the environment of `make run`. The daemon runs one free-running station on the demonstration's pictures, with no
broker. Memory is the proportional set size of all its processes, which counts shared pages once.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
RUNTIME = ROOT / ".venv-run"
MOST_DISK_MB, MOST_PSS_MB, MOST_START_S = 800, 600, 5.0
CONFIG = """\
site: bench
line: line1
state_dir: {state}
model: {{bundle: {bundle}}}
http: {{port: 0}}
log: {{level: error}}
stations:
  raceway:
    mode: free_running
    cameras:
      top: {{kind: folder, path: {bundle}/demo/manifest.csv}}
"""


def disk_mb(folder: Path) -> float:
    """What the files take in blocks, each file once."""
    seen = {(stat.st_dev, stat.st_ino): stat.st_blocks * 512 for stat in map(os.lstat, folder.rglob("*"))}
    return sum(seen.values()) / 1e6


def tree(pid: int) -> list[int]:
    children = [int(c) for t in Path(f"/proc/{pid}/task").iterdir() for c in (t / "children").read_text().split()]
    return [pid, *(below for child in children for below in tree(child))]


def pss_mb(pid: int) -> float:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) * 1024 / 1e6


def run_daemon(folder: Path) -> tuple[float, list[tuple[float, str]]]:
    """Seconds to READY, and the memory of each process while verdicts flow."""
    config = folder / "config.yaml"
    config.write_text(CONFIG.format(state=folder / "state", bundle=ROOT / "models" / "bsdata"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(folder / "notify"))
        manager.settimeout(60)
        began = time.monotonic()
        daemon = subprocess.Popen(
            [RUNTIME / "bin" / "linegate", "run", config], env={**os.environ, "NOTIFY_SOCKET": str(folder / "notify")}
        )
        try:
            while b"READY=1" not in manager.recv(4096):
                pass
            ready = time.monotonic() - began
            time.sleep(10)
            used = [(pss_mb(pid), Path(f"/proc/{pid}/cmdline").read_text()) for pid in tree(daemon.pid)]
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(20)
            (folder / "notify").unlink()
    return ready, used


def main() -> int:
    parser = argparse.ArgumentParser(description="What linegate weighs without torch.")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the lines")
    args = parser.parse_args()
    packages = sorted(((disk_mb(p), p.name) for p in RUNTIME.glob("lib/python*/site-packages/*/")), reverse=True)
    with tempfile.TemporaryDirectory(prefix="linegate-bench-") as folder:
        run_daemon(Path(folder))  # builds and caches the network's graph, as the first start after an upgrade does
        ready, used = run_daemon(Path(folder))
    disk, pss = disk_mb(RUNTIME), sum(mb for mb, _ in used)
    if args.json:
        print(json.dumps({"disk_mb": disk, "pss_mb": pss, "ready_s": ready}, indent=1))
        return 0
    print(f"runtime set on disk: {disk:.0f} MB, at most {MOST_DISK_MB}: {met(disk <= MOST_DISK_MB)}")
    print("  " + ", ".join(f"{name} {mb:.0f}" for mb, name in packages[:6]))
    print(f"ready after {ready:.1f} s, at most {MOST_START_S:.0f}: {met(ready <= MOST_START_S)}")
    print(f"memory of {len(used)} processes: {pss:.0f} MB PSS, at most {MOST_PSS_MB}: {met(pss <= MOST_PSS_MB)}")
    for mb, command in sorted(used, reverse=True):
        print(f"  {mb:4.0f} MB  {command.replace(chr(0), ' ')[:90]}")
    return 0


def met(is_met: bool) -> str:
    return "met" if is_met else "MISSED"


if __name__ == "__main__":
    sys.exit(main())
