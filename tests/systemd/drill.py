# ruff: noqa: T201 - it talks to whoever runs it
"""`make drill-systemd`: installs into a copy of this machine, boots systemd there, and breaks the unit on purpose.

Needs root, systemd-container and mosquitto. The machine itself is only the lower, untouched layer of an overlay; the
container has no network but its own loopback.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parents[2]
UNIT = "linegate@raceway"
BOOTED = ("running", "degraded")
WATCHDOG_S = 4
CONFIG = """\
site: works
line: line1
state_dir: /var/lib/linegate/raceway
model: {bundle: /opt/linegate/current/share/linegate/models/bsdata}
mqtt: {username: line, password_file: mqtt-password}
stations:
  raceway:
    mode: free_running
    cameras:
      top: {kind: folder, path: /opt/linegate/current/share/linegate/models/bsdata/demo/manifest.csv}
"""


class Machine:
    """The booted container, by the process id of its init."""

    def __init__(self, root: Path, init: int) -> None:
        self.root = root
        self._enter = ("nsenter", "-t", str(init), "-m", "-u", "-i", "-n", "-p", "--")

    def run(self, *command: str, timeout: float = 150) -> subprocess.CompletedProcess[str]:
        return subprocess.run((*self._enter, *command), capture_output=True, text=True, timeout=timeout, check=False)

    def show(self, key: str) -> str:
        return self.run("systemctl", "show", "-P", key, UNIT).stdout.strip()

    def restarts(self) -> int:
        return int(self.show("NRestarts"))

    def active(self) -> bool:
        return self.show("ActiveState") == "active"


@contextmanager
def overlay() -> Iterator[Path]:
    """A writable copy of this machine's root that costs only what is written to it."""
    layers = Path(tempfile.mkdtemp(prefix="linegate-drill-", dir="/var/tmp"))
    for name in ("upper", "work", "root"):
        (layers / name).mkdir()
    root = layers / "root"
    options = f"lowerdir=/,upperdir={layers / 'upper'},workdir={layers / 'work'}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(root)], check=True)
    try:
        yield root
    finally:
        subprocess.run(["umount", str(root)], check=True)
        shutil.rmtree(layers)


@contextmanager
def booted(root: Path) -> Iterator[Machine]:
    (root / "etc" / "machine-id").write_text(os.urandom(16).hex() + "\n")
    nspawn = subprocess.Popen(
        ["systemd-nspawn", "-q", "-b", "-D", str(root), "-M", "linegate-drill", "--register=no", "--keep-unit",
         "--private-network", f"--bind-ro={ROOT}"],  # a clone in /tmp would lie under the container's own
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        machine = Machine(root, _init_of(nspawn.pid))
        if not _wait(lambda: machine.run("systemctl", "is-system-running").stdout.strip() in BOOTED, 180):
            raise TimeoutError(f"systemd did not boot: {machine.run('systemctl', 'list-jobs').stdout}")
        yield machine
    finally:
        nspawn.terminate()  # the container is powered off in order
        try:
            nspawn.wait(20)
        except subprocess.TimeoutExpired:
            nspawn.kill()
            nspawn.wait()


def _init_of(nspawn: int) -> int:
    found: list[int] = []

    def look() -> bool:
        listed = subprocess.run(["pgrep", "-P", str(nspawn)], capture_output=True, text=True, check=False).stdout
        found[:] = [int(pid) for pid in listed.split()]
        return bool(found) and "systemd" in (Path("/proc") / str(found[0]) / "cmdline").read_text()

    _wait(look, 30)
    return found[0]


def _wait(holds: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not (held := holds()) and time.monotonic() < until:
        time.sleep(0.2)
    return held


def install_version(root: Path) -> None:
    subprocess.run(["make", "-C", str(ROOT), "install", f"DESTDIR={root}"], check=True, stdout=subprocess.DEVNULL)


def install(root: Path) -> None:
    install_version(root)
    (root / "etc/linegate/raceway.yaml").write_text(CONFIG)
    drop_in = root / "etc/systemd/system/linegate@.service.d/drill.conf"
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text(f"[Service]\nWatchdogSec={WATCHDOG_S}\n")
    (root / "etc/mosquitto/conf.d/drill.conf").write_text("listener 1883 127.0.0.1\nallow_anonymous true\n")


Step = tuple[str, bool, str]  # what must hold, whether it did, what was seen


def starting(machine: Machine) -> Iterator[Step]:
    run, show = machine.run, machine.show
    run("systemd-sysusers")
    run("systemd-tmpfiles", "--create")
    run("systemctl", "restart", "mosquitto")
    run("systemctl", "start", UNIT)
    code = show("ExecMainStatus")
    time.sleep(5)  # twice as long as a restart would take
    state = f"{show('ActiveState')}, exit {code}, {machine.restarts()} restarts"
    yield "a wrong config is exit 78 and not tried again", state == "failed, exit 78, 0 restarts", state

    store = machine.root / "etc/credstore"
    store.mkdir(mode=0o700, exist_ok=True)
    (store / "linegate.raceway.mqtt-password").write_text("secret\n")
    run("systemctl", "reset-failed", UNIT)
    began = time.monotonic()
    started = run("systemctl", "start", UNIT)
    took = time.monotonic() - began
    yield "start waits for READY", started.returncode == 0 and machine.active(), f"{took:.1f} s, {show('StatusText')!r}"
    owner = run("ps", "-o", "user=", "-p", show("MainPID")).stdout.strip()
    yield "it runs as the user linegate", owner == "linegate", owner
    topic = "linegate/works/line1/raceway/verdict"
    heard = run("mosquitto_sub", "-t", topic, "-C", "3", "-W", "30").stdout.splitlines()
    yield "verdicts reach the broker", sum('"verdict"' in line for line in heard) == 3, heard[0] if heard else "none"
    page = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9580/readyz', timeout=5).status)"
    yield "/readyz answers 200", run("/usr/bin/python3", "-c", page).stdout.strip() == "200", ""
    outside = run("nsenter", "-t", show("MainPID"), "-m", "--", "touch", "/opt/linegate/x", "/etc/x", "/usr/x")
    yield "it can write nowhere but to its state", outside.stderr.count("Read-only file system") == 3, ""


def breaking(machine: Machine) -> Iterator[Step]:
    run, show, restarts = machine.run, machine.show, machine.restarts
    main = show("MainPID")
    reloaded = run("systemctl", "reload", UNIT)
    told = _wait(lambda: "read again" in show("StatusText"), 10)
    yield "reload keeps the process", reloaded.returncode == 0 and told and show("MainPID") == main, show("StatusText")
    time.sleep(3 * WATCHDOG_S)
    yield "a healthy daemon feeds the watchdog", show("MainPID") == main and machine.active(), f"{3 * WATCHDOG_S} s"

    before = restarts()
    run("systemctl", "kill", "-s", "KILL", "--kill-whom=main", UNIT)
    back = _wait(lambda: restarts() == before + 1 and machine.active(), 60)
    yield "killed, it comes back", back and show("MainPID") != main, f"{restarts() - before} restart"

    before = restarts()
    run("systemctl", "kill", "-s", "STOP", "--kill-whom=main", UNIT)
    back = _wait(lambda: restarts() > before, 60) and _wait(machine.active, 60)
    barked = "Watchdog timeout" in run("journalctl", "-u", UNIT, "--no-pager").stdout
    yield "hung, the watchdog ends it and it comes back", back and barked, f"{restarts() - before} restart"


def upgrading(machine: Machine) -> Iterator[Step]:
    """The installs run outside the container, where the index is; the restarts inside it."""

    def version() -> str:
        return os.readlink(machine.root / "opt/linegate/current").removeprefix("versions/")  # noqa: PTH115

    def children() -> dict[str, str]:
        listed = machine.run("pgrep", "-u", "linegate", "-a", "-f", "spawn_main").stdout.splitlines()
        return dict(line.split(" ", 1) for line in listed)

    main, old, before = machine.show("MainPID"), version(), children()
    install_version(machine.root)
    new = version()
    yield "an upgrade leaves the station alone", machine.show("MainPID") == main and new != old, f"{old} to {new}"
    for pid in before:
        machine.run("kill", "-KILL", pid)
    _wait(lambda: len(children()) >= len(before) and not set(before) & set(children()), 60)
    again = children()
    same = bool(again) and all(f"/versions/{old}/" in line for line in again.values())
    yield "a child that starts after it is of the old version", same and machine.show("MainPID") == main, ""

    machine.run("systemctl", "restart", UNIT)
    yield "restarted, the station is of the new version", _runs(machine, new), machine.show("StatusText")
    undone = subprocess.run(["make", "-C", str(ROOT), "rollback-install", f"DESTDIR={machine.root}"], check=False)
    machine.run("systemctl", "restart", UNIT)
    yield "rolled back and restarted, it is of the old one", not undone.returncode and _runs(machine, old), ""


def _runs(machine: Machine, version: str) -> bool:
    command = machine.run("ps", "-o", "args=", "-p", machine.show("MainPID")).stdout
    return machine.active() and f"/versions/{version}/" in command


def refused_for_now(machine: Machine) -> Iterator[Step]:
    """What the operating system refuses at the start, and grants later."""
    run, show = machine.run, machine.show
    python = "/usr/bin/python3"
    run("systemctl", "stop", UNIT)
    run("systemd-run", "--unit=drill-holder", python, "-m", "http.server", "--bind", "127.0.0.1", "9580")
    run("systemctl", "start", "--no-block", UNIT)
    refused = _wait(lambda: show("ExecMainStatus") == "75" and machine.restarts() >= 2, 120)
    yield "a port in use is exit 75 and tried again", refused, f"{machine.restarts()} restarts"
    time.sleep(10)
    run("systemctl", "stop", "drill-holder")
    back = _wait(machine.active, 120)
    yield "once the port is free the station comes up by itself", back, f"{machine.restarts()} restarts"

    run("systemctl", "stop", UNIT)
    config = machine.root / "etc/linegate/raceway.yaml"
    before = config.read_text()
    config.write_text(f"{before}http: {{host: 10.99.0.1}}\n")
    run("systemctl", "start", "--no-block", UNIT)
    refused = _wait(lambda: show("ExecMainStatus") == "75" and machine.restarts() >= 1, 120)
    run("ip", "address", "add", "10.99.0.1/32", "dev", "lo")
    back = _wait(machine.active, 120)
    yield "an address that comes later is waited for", refused and back, f"{machine.restarts()} restarts"
    run("systemctl", "stop", UNIT)
    config.write_text(before)
    run("systemctl", "start", UNIT)


def ending(machine: Machine) -> Iterator[Step]:
    run, show = machine.run, machine.show
    refused = run("make", "--no-print-directory", "-C", str(ROOT), "uninstall")
    there = (machine.root / "opt/linegate/current/bin/linegate").exists()
    why = refused.stderr.strip()
    yield "uninstall refuses while a station runs", refused.returncode != 0 and there and UNIT in why, why
    began = time.monotonic()
    run("systemctl", "stop", UNIT)
    took = time.monotonic() - began
    result = f"{show('Result')} in {took:.1f} s"
    yield "stop is clean and quick", show("Result") == "success" and took < 6, result
    left = run("pgrep", "-u", "linegate").stdout + run("find", "/dev/shm", "-user", "linegate").stdout
    yield "nothing is left running or in shared memory", not left, left
    example = run("/usr/local/bin/linegate", "check", "/etc/linegate/example.yaml")
    yield "the installed example passes `linegate check`", example.returncode == 0, example.stdout + example.stderr
    log = run("journalctl", "-u", UNIT, "--no-pager").stdout.splitlines()
    faults = [line for line in log if re.search(r"Traceback|Permission denied|not permitted", line)]
    yield "the journal tells of no traceback and nothing forbidden", not faults, "\n".join(faults[:5])
    removed = (
        run("make", "--no-print-directory", "-C", str(ROOT), "uninstall").returncode == 0
        and not (machine.root / "opt/linegate").exists()
        and not (machine.root / "usr/local/bin/linegate").is_symlink()
    )
    places = ("var/lib/linegate/raceway", "var/lib/linegate/models", "etc/linegate/raceway.yaml")
    kept = all((machine.root / name).exists() for name in places)
    yield "uninstall removes the program and keeps configs, bundles and records", removed and kept, ""


STEPS = (starting, breaking, refused_for_now, upgrading, ending)


def main() -> int:
    if os.geteuid() != 0:
        print("the drill boots a container: run it as root")
        return 1
    failed = 0
    with overlay() as root:
        install(root)
        with booted(root) as machine:
            for words, held, seen in chain(
                starting(machine), breaking(machine), refused_for_now(machine), upgrading(machine), ending(machine)
            ):
                print(f"{'ok    ' if held else 'FAILED'}  {words}{f'  ({seen.strip()})' if seen else ''}", flush=True)
                failed += not held
            if failed:
                print(machine.run("journalctl", "-u", UNIT, "--no-pager", "-n", "60").stdout)
    print(f"{failed} failed" if failed else "every step held")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
