"""`make install`, `rollback-install` and `uninstall`: versions side by side, and nothing lost of what is the plant's.

A stand-in for Python makes the environments, so that no test waits for pip.
"""

import os
import shutil
import stat
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# `python -m venv DIR`, `pip wheel` and `pip install` as far as install.sh relies on them.
PYTHON = """\
#!/bin/sh
case "$*" in
  *base_prefix*) echo /usr ;;
  *of_source*) cat {folder}/version ;;
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && echo "home = $3" > "$3/pyvenv.cfg" ;;
  *" wheel "*) [ ! -e {folder}/broken ] || exit 1
    eval to=\\${{$(($# - 1))}}; touch "$to/linegate-0-py3-none-any.whl"
    eval from=\\$$#; (cd "$from" && find . -type f) > {folder}/sources; cp "$from/PKG-INFO" {folder} ;;
  *" install "*) here=$(dirname "$0"); echo "#!$here/python" > "$here/linegate"; chmod +x "$here/linegate" ;;
esac
"""


class Box:
    """A machine's root, empty to begin with."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.root.mkdir()
        self.folder = folder
        self.python = folder / "python"
        self.python.write_text(PYTHON.format(folder=folder))
        self.python.chmod(0o755)
        self.opt = self.root / "opt" / "linegate"
        # A small source tree: the real one would be copied at every install.
        self.source = folder / "source"
        for name in ("Makefile", "constraints.txt", *(f"systemd/{path.name}" for path in (ROOT / "systemd").iterdir())):
            (self.source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.source / name)

    def make(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [
            "make",
            "-C",
            str(self.source),
            f"SYSTEM_PYTHON={self.python}",
            f"DESTDIR={self.root}",
            "EXTRAS=",
            *words,
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def install(self, version: str, *words: str) -> str:
        (self.folder / "version").write_text(version + "\n")
        done = self.make("install", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def current(self) -> str:
        return os.readlink(self.opt / "current")  # noqa: PTH115 - as it is written, relative

    @property
    def versions(self) -> set[str]:
        return {path.name for path in (self.opt / "versions").iterdir()}

    def files(self) -> set[str]:
        return {
            str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file() or path.is_symlink()
        }

    def put(self, name: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("the plant's")
        return path


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def test_install_puts_a_version_in_a_folder_of_its_own_and_the_command_in_the_path(box: Box) -> None:
    box.install("1.0")
    assert box.current == "versions/1.0"
    linked = box.root / "usr" / "local" / "bin" / "linegate"
    assert os.readlink(linked) == "/opt/linegate/current/bin/linegate"  # noqa: PTH115
    # What starts the program names the version, not the link: children that start later are of the same version.
    assert (box.opt / "current" / "bin" / "linegate").read_text() == "#!/opt/linegate/versions/1.0/bin/python\n"
    unit = (box.root / "usr/lib/systemd/system/linegate@.service").read_text()
    assert "ExecStart=/opt/linegate/current/bin/linegate run" in unit


def test_an_upgrade_leaves_the_version_that_runs_as_it_is(box: Box) -> None:
    box.install("1.0")
    before = {path: path.stat().st_mtime_ns for path in (box.opt / "versions" / "1.0").rglob("*")}
    box.install("1.1")
    assert box.current == "versions/1.1"
    assert {path: path.stat().st_mtime_ns for path in (box.opt / "versions" / "1.0").rglob("*")} == before


def test_the_same_version_again_is_an_environment_of_its_own(box: Box) -> None:
    box.install("1.0")
    box.install("1.0")
    assert box.versions == {"1.0", "1.0-2"}
    assert box.current == "versions/1.0-2"


def test_rollback_goes_to_the_version_before_and_forth_again(box: Box) -> None:
    for version in ("1.0", "1.1", "1.2"):
        box.install(version)
    assert box.make("rollback-install").returncode == 0
    assert box.current == "versions/1.1"
    assert box.make("rollback-install").returncode == 0
    assert box.current == "versions/1.2"
    assert box.make("rollback-install", "VERSION=1.0").returncode == 0
    assert box.current == "versions/1.0"


def test_rollback_brings_the_unit_of_its_version(box: Box) -> None:
    box.install("1.0")
    unit = "share/linegate/systemd/linegate@.service"
    (box.opt / "current" / unit).write_text("the unit of 1.0")
    box.install("1.1")
    box.make("rollback-install")
    assert (box.root / "usr/lib/systemd/system/linegate@.service").read_text() == "the unit of 1.0"


def test_rollback_to_what_is_not_there_changes_nothing(box: Box) -> None:
    box.install("1.0")
    for words in ((), ("VERSION=0.9",)):
        refused = box.make("rollback-install", *words)
        assert refused.returncode != 0
        assert "There is no version" in refused.stderr
    assert box.current == "versions/1.0"


def test_an_install_that_is_broken_off_changes_nothing_and_the_next_one_clears_it_away(box: Box) -> None:
    box.install("1.0")
    (box.folder / "broken").touch()
    (box.folder / "version").write_text("1.1\n")
    assert box.make("install").returncode != 0
    assert box.current == "versions/1.0"
    (box.folder / "broken").unlink()
    box.install("1.1")
    assert box.versions == {"1.0", "1.1"}


def test_old_versions_go_but_for_as_many_as_are_kept_and_the_way_back(box: Box) -> None:
    for version in ("1.0", "1.1", "1.2", "1.3"):
        box.install(version)
    assert box.versions == {"1.1", "1.2", "1.3"}
    box.make("rollback-install", "VERSION=1.1")
    box.install("1.4", "KEEP=1")
    assert box.versions == {"1.1", "1.4"}


class LiveBox(Box):
    """As if this machine's own root were written to: every place is a variable, and systemd's tools are stand-ins."""

    stations: tuple[str, ...] = ()
    """That systemd lists as running."""

    def make(self, *words: str) -> subprocess.CompletedProcess[str]:
        tools = self.folder / "tools"
        for tool in ("systemd-sysusers", "systemd-tmpfiles", "systemctl"):
            tools.mkdir(exist_ok=True)
            (tools / tool).write_text("#!/bin/sh\n")
            (tools / tool).chmod(0o755)
        listed = "".join(f"echo '{name} loaded active running a station'\n" for name in self.stations)
        (tools / "systemctl").write_text(f'#!/bin/sh\n[ "$1" = list-units ] || exit 1\n{listed}')
        kinds = ("BINDIR", "SYSCONFDIR", "UNITDIR", "SYSUSERSDIR", "TMPFILESDIR")
        places = [f"{kind}={self.root / kind}" for kind in kinds]
        path = f"PATH={tools}:{os.environ['PATH']}"
        return super().make("DESTDIR=", f"PREFIX={self.opt}", *places, path, *words)


@contextmanager
def run_from(folder: Path) -> Iterator[None]:
    """A process whose command line names `folder`, as that of a station or a child does."""
    (folder / "station").write_text("read line\n")
    with subprocess.Popen(["sh", str(folder / "station")], stdin=subprocess.PIPE):
        yield


def test_uninstall_names_the_stations_that_run_in_a_command_that_stops_them(tmp_path: Path) -> None:
    box = LiveBox(tmp_path)
    box.install("1.0")
    box.stations = ("linegate@press.service", "linegate@weld.service")
    refused = box.make("uninstall")
    assert refused.returncode != 0
    assert "systemctl disable --now linegate@press.service linegate@weld.service\n" in refused.stderr
    assert box.versions == {"1.0"}

    box.stations = ()
    assert box.make("uninstall").returncode == 0
    assert not box.opt.exists()


def test_a_version_that_runs_stays_until_it_has_ended(tmp_path: Path) -> None:
    box = LiveBox(tmp_path)
    box.install("1.0")
    with run_from(box.opt / "versions" / "1.0"):
        for version in ("1.1", "1.2", "1.3"):
            told = box.install(version, "KEEP=1")
        assert "still runs from version 1.0" in told
        assert box.versions == {"1.0", "1.2", "1.3"}
    box.install("1.4", "KEEP=1")
    assert box.versions == {"1.3", "1.4"}


def test_an_old_environment_that_runs_stays_until_it_has_ended(tmp_path: Path) -> None:
    box = LiveBox(tmp_path)
    for name in (".linegate", "pyvenv.cfg", "bin/linegate", "lib/python3.11/x.py"):
        box.put(f"opt/linegate/{name}")
    with run_from(box.opt / "bin"):
        assert "still runs from the old environment" in box.install("1.0")
        assert (box.opt / "lib" / "python3.11" / "x.py").exists()
    box.install("1.1")
    assert not (box.opt / "lib").exists()
    assert box.current == "versions/1.1"


def test_an_install_from_before_there_were_versions_is_upgraded(box: Box) -> None:
    flat = [".linegate", "pyvenv.cfg", "bin/linegate", "lib/python3.11/x.py", "share/config.yaml"]
    for name in flat:
        box.put(f"opt/linegate/{name}")
    bundle = box.put("opt/linegate/models/press/bundle.json")
    box.install("1.1")
    assert box.current == "versions/1.1"
    assert {path.name for path in box.opt.iterdir()} == {".linegate", "versions", "current", "bin", "models"}
    assert (box.opt / "bin").resolve() == box.opt / "versions" / "1.1" / "bin"
    assert bundle.read_text() == "the plant's"


def test_the_sources_are_what_git_tracks(box: Box) -> None:
    for name in ("models/bsdata/bundle.json", "models/press/bundle.json"):
        (box.source / name).parent.mkdir(parents=True)
        (box.source / name).touch()
    git = ["git", "-C", str(box.source)]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "Makefile", "systemd", "models/bsdata"], check=True)
    box.install("1.0")
    sources = (box.folder / "sources").read_text().split()
    assert {"./Makefile", "./models/bsdata/bundle.json"} <= set(sources)
    assert "./models/press/bundle.json" not in sources
    assert "Version: 1.0" in (box.folder / "PKG-INFO").read_text()


def test_sources_without_git_are_taken_as_they_are(box: Box) -> None:
    (box.source / ".venv-run").mkdir()
    (box.source / ".venv-run" / "large").touch()
    box.install("1.0")
    sources = (box.folder / "sources").read_text().split()
    assert "./Makefile" in sources
    assert "./.venv-run/large" not in sources


def test_the_wheel_brings_all_that_is_tracked_of_the_models() -> None:
    told = subprocess.run(["git", "ls-files", "models"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    # A release without its history has no other files.
    here = [str(path.relative_to(ROOT)) for path in (ROOT / "models").rglob("*") if path.is_file()]
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["data-files"]
    brought = {
        (f"{to}/{path.name}", str(path.relative_to(ROOT)))
        for to, patterns in settings.items()
        for pattern in patterns
        for path in ROOT.glob(pattern)
    }
    tracked = set(told.splitlines() or here)
    assert {(f"share/linegate/{name}", name) for name in tracked} <= brought


def test_whoever_installs_the_service_can_read_it(box: Box) -> None:
    before = os.umask(0o077)
    try:
        box.install("1.0")
    finally:
        os.umask(before)
    folders = [box.opt, *(path for path in box.opt.rglob("*") if path.is_dir() and not path.is_symlink())]
    assert not [path for path in folders if not path.stat().st_mode & stat.S_IROTH]


def test_a_command_in_the_path_that_is_not_linegates_stays(box: Box) -> None:
    theirs = box.put("usr/local/bin/linegate")
    assert "is not linegate's" in box.install("1.0")
    box.make("uninstall")
    assert theirs.read_text() == "the plant's"


def test_install_refuses_a_python_that_the_service_cannot_see(box: Box) -> None:
    box.python.write_text("#!/bin/sh\necho /home/somebody/.pyenv/versions/3.11\n")
    refused = box.make("install")
    assert refused.returncode != 0
    assert "lies in a home" in refused.stdout
    assert not box.opt.exists()


def test_install_does_not_write_into_a_folder_that_is_not_ours(box: Box) -> None:
    box.put("usr/bin/theirs")
    refused = box.make("install", "PREFIX=/usr")
    assert refused.returncode != 0
    assert "holds something else" in refused.stderr
    assert box.files() == {"usr/bin/theirs"}


def test_uninstall_removes_what_install_made_and_keeps_what_is_the_plants(box: Box) -> None:
    box.install("1.0")
    box.install("1.1")
    kept = {
        "etc/linegate/raceway.yaml",
        "var/lib/linegate/models/press/bundle.json",
        "var/lib/linegate/raceway/outbox.sqlite",
    }
    for name in kept:
        box.put(name)
    removed = box.make("uninstall")
    assert removed.returncode == 0, removed.stderr
    assert box.files() == kept | {"etc/linegate/example.yaml"}
    assert not box.opt.exists()
    assert "Kept" in removed.stdout


def test_uninstall_keeps_bundles_that_were_made_beside_the_program(box: Box) -> None:
    bundle = box.put("opt/linegate/models/press/bundle.json")
    box.put("opt/linegate/.linegate")
    box.install("1.0")
    removed = box.make("uninstall")
    assert bundle.read_text() == "the plant's"
    assert "/opt/linegate/models" in removed.stdout
    box.install("1.1")


def test_uninstall_touches_nothing_where_linegate_is_not_installed(box: Box) -> None:
    box.put("usr/bin/theirs")
    refused = box.make("uninstall", "PREFIX=/usr")
    assert refused.returncode != 0
    assert box.files() == {"usr/bin/theirs"}
