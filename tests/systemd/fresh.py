# ruff: noqa: T201 - it talks to whoever runs it
"""`make drill-fresh`: `make test` in a bare Debian, as root and as an ordinary user.

Needs root, debootstrap, systemd-container and a network. A bare system has Python, make and nothing that the tests use.
Root gets all of that from `make test` and skips nothing; the user skips by name what is missing. Both pass.

    make drill-fresh                                     every test, with an environment of its own: an hour, 15 GB
    make drill-fresh ARGS='--here -- tests/transport'    this checkout's environment, some tests: minutes
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
USER = "somebody"
# How this machine reaches its package indexes is how the bare one does.
PASSED = re.compile(r"PIP_|.*_proxy$|.*_PROXY$|SSL_CERT_|.*CA_BUNDLE$")
SETTINGS = ("/etc/pip.conf", "/etc/ssl/certs")
MISSING = re.compile(r"^not installed: ([^;]+);", re.MULTILINE)
SUMMARY = re.compile(r"^\d+ (?:passed|failed|skipped|error).* in .*$", re.MULTILINE)
# For an ordinary user of a bare system at least these.
EXPECTED = {"mosquitto", "prometheus", "chromium", "minisign"}


def bootstrap(base: Path, suite: str, mirror: str) -> None:
    if (base / "usr" / "bin" / "make").exists():
        return
    packages = "--include=python3,make,ca-certificates"
    subprocess.run(["debootstrap", "--variant=minbase", packages, suite, str(base), mirror], check=True)


@contextmanager
def overlay(lower: Path, layers: Path, at: Path) -> Iterator[None]:
    """What is written below `at` goes to `layers`; `lower` stays as it is."""
    for name in ("upper", "work"):
        (layers / name).mkdir(parents=True)
    at.mkdir(parents=True, exist_ok=True)
    options = f"lowerdir={lower},upperdir={layers / 'upper'},workdir={layers / 'work'}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(at)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(at)], check=True)


def inside(root: Path, words: list[str], *, user: str = "root", binds: list[str]) -> subprocess.CompletedProcess[str]:
    passed = [f"--setenv={name}={value}" for name, value in os.environ.items() if PASSED.match(name)]
    command = ["systemd-nspawn", "-q", "-D", str(root), "--register=no", "--keep-unit", "--pipe", "--user", user]
    command += [*passed, "--setenv=COLUMNS=160", *(f"--bind-ro={path}" for path in binds), *words]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=-1, stderr=subprocess.STDOUT, text=True) as ran:
        assert ran.stdout
        told = ""
        for line in ran.stdout:
            print(f"    {line}", end="", flush=True)
            told += line
    return subprocess.CompletedProcess(command, ran.returncode, told)


def tried(base: Path, user: str, arguments: argparse.Namespace) -> bool:
    """Whether `make test` did in a copy of the bare system what it should for this user."""
    binds = [path for path in (*SETTINGS, *arguments.bind) if Path(path).exists()]
    with tempfile.TemporaryDirectory(prefix="linegate-fresh-", dir="/var/tmp") as folder, ExitStack() as stack:
        layers = Path(folder)
        root = layers / "root"
        stack.enter_context(overlay(base, layers / "system", root))
        if arguments.here:
            # The environment names its places: it is found where it was made, and so is the Python beneath it.
            place = ROOT
            stack.enter_context(overlay(ROOT, layers / "sources", root / ROOT.relative_to("/")))
            python = Path(os.path.realpath(ROOT / ".venv/bin/python")).parents[1]
            binds.append(str(python))
            for above in python.parents:
                (root / above.relative_to("/")).mkdir(parents=True, exist_ok=True)
                (root / above.relative_to("/")).chmod(0o755)
        else:
            place = Path("/home/linegate")
            subprocess.run(["git", "clone", "-q", str(ROOT), str(root / place.relative_to("/"))], check=True)
        inside(root, ["useradd", "--create-home", USER], binds=binds)
        if user != "root":
            if not arguments.here:  # what an administrator gives a user: a Python that can make environments
                inside(root, [str(place / "tests/packages.sh"), "python3-venv"], binds=binds)
            owned = f"find {place} -path {place}/.venv -prune -o -exec chown -h {USER} {{}} +"
            inside(root, ["sh", "-c", owned], binds=binds)
        tests = f"ARGS={' '.join(arguments.tests)}"
        ran = inside(root, ["make", "-C", str(place), "test", tests], user=user, binds=binds)
    missing = set(MISSING.findall(ran.stdout))
    # Some tests need fewer programs than all of them.
    enough = missing if arguments.tests else missing >= EXPECTED
    held = ran.returncode == 0 and bool(enough if user != "root" else not missing)
    last = ([*SUMMARY.findall(ran.stdout), "no test was run"])[0]
    print(
        f"{'ok    ' if held else 'FAILED'}  make test as {user}: {last}; not installed: {sorted(missing) or 'nothing'}"
    )
    return held


def main() -> int:
    parser = argparse.ArgumentParser(description="make test in a bare Debian, as root and as an ordinary user")
    parser.add_argument("--here", action="store_true", help="use this checkout and its .venv, copied on writing")
    parser.add_argument("--base", type=Path, help="keep the bare system in this folder, or take that which is there")
    parser.add_argument("--suite", default="bookworm")
    parser.add_argument("--mirror", default="http://deb.debian.org/debian")
    parser.add_argument("--bind", action="append", default=[], help="a folder of this machine that pip's settings name")
    parser.add_argument("--as", dest="users", action="append", choices=["root", USER], help="default: both")
    parser.add_argument("tests", nargs="*", help="go to pytest (default: every test)")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        print("the drill makes a system of its own: run it as root")
        return 1
    base = arguments.base or Path(tempfile.mkdtemp(prefix="linegate-bare-", dir="/var/tmp"))
    try:
        bootstrap(base, arguments.suite, arguments.mirror)
        held = [tried(base, user, arguments) for user in arguments.users or ["root", USER]]
    finally:
        if not arguments.base:
            shutil.rmtree(base)
    return not all(held)


if __name__ == "__main__":
    sys.exit(main())
