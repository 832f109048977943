"""What the Makefile's targets promise, with the slow part, pip, left to CI and to people."""

import subprocess
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import daemon

ROOT = Path(__file__).parents[2]
UNWANTED = {"torch", "torchvision", "triton", "matplotlib", "scipy", "pandas", "ray", "opencv-python", "python-daemon"}


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)


def runtime_set() -> set[str]:
    """Every distribution that `pip install linegate` brings, found by following what each declares."""
    found: set[str] = set()
    open_ = ["linegate"]
    while open_:
        name = open_.pop()
        for line in metadata.requires(name) or []:
            wanted = Requirement(line)
            key = canonicalize_name(wanted.name)
            if key not in found and (wanted.marker is None or wanted.marker.evaluate({"extra": ""})):
                found.add(key)
                open_.append(wanted.name)
    return found


def pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def test_the_runtime_set_holds_no_torch_and_nothing_else_that_is_heavy() -> None:
    runtime = runtime_set()
    assert {"numpy", "openvino", "paho-mqtt"} <= runtime
    assert not {name for name in runtime if name in UNWANTED or name.startswith("nvidia")}


def test_every_package_of_every_environment_is_pinned_at_the_version_installed() -> None:
    installed = {canonicalize_name(d.metadata["Name"]): d.version.partition("+")[0] for d in metadata.distributions()}
    ours = set(installed) - {"linegate", "pip", "setuptools", "wheel"}
    assert {name: installed[name] for name in ours} == {name: pins().get(name) for name in ours}
    assert not runtime_set() - pins().keys()


def test_every_dependency_is_accounted_for_in_the_documents() -> None:
    told = (ROOT / "docs" / "dependencies.md").read_text().lower()
    declared = {Requirement(line).name for line in metadata.requires("linegate") or []}
    assert not {name for name in declared - {"linegate"} if name.lower() not in told}


def test_the_daemon_package_is_ours() -> None:
    assert Path(daemon.__file__ or "").parent == ROOT / "daemon"
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.version("python-daemon")


def test_make_alone_lists_the_targets() -> None:
    told = make().stdout
    for target in ("run", "test", "lint", "bench", "install", "uninstall", "clean"):
        assert f"make {target}" in told


def test_a_machine_without_a_fit_python_is_told_what_to_install(tmp_path: Path) -> None:
    refused = make("SYSTEM_PYTHON=", "install", f"DESTDIR={tmp_path}")
    assert refused.returncode != 0
    assert "apt-get install python3 python3-venv" in refused.stdout
    assert not any(tmp_path.iterdir())
