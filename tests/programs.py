"""Programs of other makers that tests start, and what becomes of a test on a machine that lacks one."""

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGES = Path(__file__).with_name("packages.txt")
MISSING = "not installed: "
REFUSED = "not allowed here: "

# Stands for the modules and plugins that tests/camera/rtsp_server.py takes from Debian's own Python.
RTSP_SERVER = "rtsp-server"
_RTSP_PROBE = """
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer
Gst.init(None)
raise SystemExit(not all(map(Gst.ElementFactory.find, ("appsrc", "jpegenc", "rtpjpegpay"))))
"""


def need(*programs: str) -> None:
    """Ends the running test where one of `programs` is not installed: skipped, or failed where CI should have it."""
    missing = [package for program in programs if not installed(program) for package in packages()[program]]
    if not missing:
        return
    reason = MISSING + " ".join(missing)
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def need_root() -> None:
    """Skips the running test for an ordinary user."""
    if os.geteuid() != 0:
        pytest.skip(REFUSED + "root")


def need_namespaces() -> None:
    """Skips the running test where this user may not make namespaces of its own: an ordinary user, many containers."""
    need("unshare")
    if not _may_unshare():
        pytest.skip(REFUSED + "namespaces")


def need_started(error: OSError) -> None:
    """Ends the test as `need` does where `error` is that of a program of the list that could not be started."""
    if isinstance(error.filename, str) and error.filename in packages():
        need(error.filename)


@cache
def packages() -> dict[str, list[str]]:
    """The packages of each program."""
    found: dict[str, list[str]] = {}
    for line in PACKAGES.read_text().splitlines():
        package, *programs = line.partition("#")[0].split() or [""]
        for program in programs:
            found.setdefault(program, []).append(package)
    return found


@cache
def installed(program: str) -> bool:
    if program != RTSP_SERVER:
        return shutil.which(program) is not None
    python = "/usr/bin/python3"
    probe = [python, "-c", _RTSP_PROBE]
    return Path(python).exists() and subprocess.run(probe, stderr=subprocess.DEVNULL, check=False).returncode == 0


@cache
def _may_unshare() -> bool:
    own = ["unshare", "--user", "--map-root-user", "--net", "--mount", "true"]
    return subprocess.run(own, stderr=subprocess.DEVNULL, check=False).returncode == 0


def summary(reasons: Iterable[str]) -> Iterator[str]:
    """One line for each package, or right, without which tests were not run."""
    lacking: dict[str, Counter[str]] = {MISSING: Counter(), REFUSED: Counter()}
    for reason in reasons:
        for kind, names in lacking.items():
            _, found, named = reason.partition(kind)
            names.update(named.split() if found else [])
    say: Callable[[int], str] = lambda count: f"{count} test{'s were' if count > 1 else ' was'} not run"  # noqa: E731
    for kind, names in lacking.items():
        yield from (f"{kind}{name}; {say(count)}" for name, count in sorted(names.items()))
    if lacking[MISSING]:
        yield f"To run them: apt-get install {' '.join(sorted(lacking[MISSING]))}"
