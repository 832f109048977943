"""A test whose program is not installed is not run, and is told; where CI should have the program, it fails."""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.programs import packages

ROOT = Path(__file__).parents[1]
SIGNING = """
import asyncio, subprocess
import pytest

@pytest.fixture(scope="session")
def key():
    return subprocess.run(["minisign", "-G"])

def test_one(key): pass

def test_other(key): pass

async def test_third():
    await asyncio.create_subprocess_exec("promtool")

def test_of_nobodys_program():
    with pytest.raises(FileNotFoundError):
        subprocess.run(["nobodys-program"])
"""
# What every system has on which `make test` can be called.
EVERYWHERE = {"bash", "sh", "make", "sleep", "cat", "true", "tar"}


def suite(folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the tests above where neither minisign nor promtool is installed."""
    shutil.copy(ROOT / "tests" / "conftest.py", folder)
    (folder / "test_signing.py").write_text(SIGNING)
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\naddopts = -q -p no:cacheprovider\n")
    bare = {name: value for name, value in os.environ.items() if name != "CI"}
    bare |= {"PATH": str(folder), "PYTHONPATH": str(ROOT), **environ}
    command = [sys.executable, "-m", "pytest"]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=bare, check=False)


def test_a_test_that_lacks_its_program_is_not_run_and_the_last_lines_name_the_package(tmp_path: Path) -> None:
    ran = suite(tmp_path)
    assert ran.returncode == 0, ran.stdout
    assert ran.stdout.splitlines()[-4:-1] == [
        "not installed: minisign; 2 tests were not run",
        "not installed: prometheus; 1 test was not run",
        "To run them: apt-get install minisign prometheus",
    ]
    assert "1 passed, 3 skipped" in ran.stdout.splitlines()[-1]


def test_in_ci_a_missing_program_is_a_failure(tmp_path: Path) -> None:
    ran = suite(tmp_path, CI="true")
    assert ran.returncode == 1
    assert "1 failed, 1 passed, 2 errors" in ran.stdout.splitlines()[-1]
    assert "not installed: minisign" in ran.stdout


def started(tree: ast.AST) -> Iterator[str]:
    """The programs that are named where they are started."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
            ("subprocess.run", "subprocess.Popen", "subprocess.check_output", "create_subprocess_exec")
        ):
            first = node.args[0]
            while isinstance(first, ast.List | ast.Tuple) and first.elts:
                first = first.elts[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value


def test_every_program_that_a_test_starts_has_its_package() -> None:
    named = {
        program: str(path.relative_to(ROOT))
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for program in started(ast.parse(path.read_text()))
        if path.name not in {"test_programs.py", "drill.py", "fresh.py"}
    }
    assert {"mosquitto", "openssl", "promtool"} <= set(named)
    assert not {program: where for program, where in named.items() if program not in EVERYWHERE | set(packages())}


def test_the_documents_account_for_every_package() -> None:
    told = (ROOT / "docs" / "dependencies.md").read_text()
    assert not [name for names in packages().values() for name in names if name not in told]


def test_packages_that_are_there_are_not_installed_again(tmp_path: Path) -> None:
    for name, says in {"apt-get": "exit 1", "dpkg-query": "printf 'installed %s\\n' git make"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{says}\n")
        (tmp_path / name).chmod(0o755)
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = [str(ROOT / "tests" / "packages.sh"), "git", "make"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
