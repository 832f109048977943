"""The version names the commit, and what comes along is found wherever linegate lies."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from daemon import shipped
from daemon.cli import main
from daemon.version import RELEASE, of_checkout, of_source, version
from inspection import extras
from inspection.extras import how_to_add


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("one")
    commit(tmp_path)
    return tmp_path


def git(folder: Path, *words: str) -> str:
    own = ("-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", "-C", str(folder), *own, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder: Path) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "a change")


def test_each_commit_has_a_version_of_its_own_and_a_changed_tree_another(checkout: Path) -> None:
    first = of_source(checkout)
    assert first == f"{RELEASE}+1.g{git(checkout, 'rev-parse', '--short=8', 'HEAD')}"
    (checkout / "file").write_text("two")
    assert of_source(checkout) == f"{first}.dirty"
    commit(checkout)
    second = of_source(checkout)
    assert second.startswith(f"{RELEASE}+2.g")
    assert second != first


def test_sources_without_git_still_have_a_version(tmp_path: Path) -> None:
    assert of_checkout(tmp_path) is None
    assert of_source(tmp_path).partition("+")[0] == RELEASE
    (tmp_path / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: linegate\nVersion: 1.2+3.gabc\n")
    assert of_source(tmp_path) == "1.2+3.gabc"


def test_a_checkout_that_git_cannot_read_still_has_a_version(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert of_checkout(checkout) is None
    assert of_source(checkout).partition("+")[0] == RELEASE


def test_an_archive_of_a_commit_names_it(checkout: Path, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    (checkout / "daemon").mkdir()
    for name in (".gitattributes", "daemon/version.py"):
        (checkout / name).write_text((root / name).read_text())
    commit(checkout)
    git(checkout, "archive", "--prefix=out/", "--format=tar", "-o", "out.tar", "HEAD")
    subprocess.run(["tar", "-x", "-f", "out.tar"], cwd=checkout, check=True)
    program = "import pathlib, runpy; print(runpy.run_path('daemon/version.py')['of_source'](pathlib.Path.cwd()))"
    told = subprocess.run(
        [sys.executable, "-c", program], cwd=checkout / "out", check=True, capture_output=True, text=True
    )
    assert told.stdout.startswith(f"{RELEASE}+g{git(checkout, 'rev-parse', 'HEAD')[:7]}")


def test_the_command_line_tells_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"linegate {version()}\n"


@pytest.mark.parametrize("where", ["lib/python3/site-packages/daemon", "daemon"], ids=["environment", "target"])
def test_what_comes_along_is_found_in_any_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    bundle = tmp_path / "share" / "linegate" / "models" / "bsdata"
    bundle.mkdir(parents=True)
    (bundle / "bundle.json").touch()
    monkeypatch.setattr(shipped, "__file__", str(tmp_path / where / "shipped.py"))
    monkeypatch.setattr(shipped, "get_path", lambda *_: str(tmp_path))
    assert shipped.models() == tmp_path / "share" / "linegate" / "models"


def test_in_a_checkout_it_is_the_checkouts_own() -> None:
    assert shipped.models() == Path(__file__).parents[2] / "models"


def test_an_extra_is_never_sought_by_name_on_an_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "pip install 'linegate" not in how_to_add("train")
    assert f"-e '{Path(__file__).parents[2]}[train]'" in how_to_add("train")
    monkeypatch.setattr(extras, "_ROOT", tmp_path)
    assert "make install EXTRAS='[train]'" in how_to_add("train")
    assert "pip install 'linegate" not in how_to_add("train")


def test_nothing_says_to_install_a_package_of_this_name_from_an_index() -> None:
    root = Path(__file__).parents[2]
    told = [
        path
        for folder in ("docs", "daemon", "training", "camera", "vision", "inspection", "systemd", "grafana")
        for path in (root / folder).rglob("*")
        if path.suffix in {".md", ".py", ".yaml"}
    ]
    by_name = re.compile(r"pip install (?:-\S+ )*['\"]?linegate\b")
    named = [
        str(path.relative_to(root))
        for path in [*told, root / "README.md", root / "config.yaml", root / "linegate.schema.json"]
        if by_name.search(path.read_text())
    ]
    assert not named
