"""House rules that no linter knows."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = ("inspection", "camera", "vision", "transport", "training", "dashboard", "daemon")
MOST_LINES = 400

# Each of these has one home: files, or folders with a slash at the end.
HOMES = {
    "paho": ("transport/mqtt/",),
    "sqlite3": ("transport/records/",),
    "prometheus_client": ("daemon/telemetry/",),
    "iotcore": ("transport/broker.py",),
    "yaml": ("daemon/config/",),
    "argparse": ("daemon/cli.py", "daemon/commands/", "training/excerpt.py"),
    "torch": (
        "vision/backends/torch.py",
        "vision/resnet.py",
        "training/",
        "daemon/commands/train.py",
        "daemon/commands/compress.py",
    ),
    "torchvision": ("training/",),
    "nacl": ("vision/signature.py",),
    "pickle": (),
    "marshal": (),
    "shelve": (),
}
CLOCKS = {
    ("time", "time"), ("time", "time_ns"), ("time", "monotonic"), ("time", "monotonic_ns"), ("time", "perf_counter"),
    ("time", "perf_counter_ns"), ("datetime", "now"), ("datetime", "utcnow"), ("date", "today"),
}  # fmt: skip


def sources(*folders: str) -> Iterator[tuple[str, str]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), path.read_text()


def imported(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def documents() -> list[Path]:
    told = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    # A release without its history has no git, and nothing else lies in its folders either.
    return [ROOT / name for name in told.stdout.split()] or [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]


def anchors(markdown: str) -> set[str]:
    """The names that headings get on the web: lower case, no punctuation, dashes for spaces."""
    text = re.sub(r"^```.*?^```", "", markdown, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ +(.+?)\s*$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_no_file_is_longer_than_400_lines() -> None:
    lengths = {name: text.count("\n") for name, text in sources(*FLOORS, "tests", "bench")}
    assert lengths
    assert not {name: length for name, length in lengths.items() if length > MOST_LINES}


@pytest.mark.parametrize("library", HOMES)
def test_each_library_is_known_in_its_home_alone(library: str) -> None:
    strangers = [
        name
        for name, text in sources(*FLOORS)
        if library in imported(ast.parse(text)) and not name.startswith(HOMES[library])
    ]
    assert not strangers


def test_processes_do_not_unpickle_what_they_hear() -> None:
    """`Connection.recv` runs what a message names; `recv_bytes` does not, nor does a socket's `recv(n)`."""
    unpickled = [
        f"{name}:{node.lineno}"
        for name, text in sources(*FLOORS)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "recv"
        and not node.args
    ]
    assert not unpickled


def test_the_time_is_read_in_one_place() -> None:
    readers = [
        f"{name}:{node.lineno}"
        for name, text in sources(*FLOORS)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in CLOCKS
        and name != "inspection/clock.py"
    ]
    assert not readers


def test_an_exception_of_any_kind_is_caught_only_in_an_outermost_frame_or_to_clean_up() -> None:
    broad = []
    for name, text in sources(*FLOORS):
        lines = text.splitlines()
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)} if node.type else {"Exception"}
            raised_again = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
            if (
                caught & {"Exception", "BaseException"}
                and not raised_again
                and "outermost" not in lines[node.lineno - 1]
            ):
                broad.append(f"{name}:{node.lineno}")
    assert not broad


def test_no_stand_ins_no_loose_ends() -> None:
    loose = re.compile(
        r"\bMagic" r"Mock\b|\bTO" r"DO\b|\bFIX" r"ME\b|\bNotImplemented" r"Error\b|pytest\.mark\.sk" r"ip\b"
    )
    found = [
        f"{name}:{number}"
        for name, text in sources(*FLOORS, "tests", "bench")
        for number, line in enumerate(text.splitlines(), 1)
        if loose.search(line)
    ]
    assert not found


def test_every_link_in_the_documents_leads_somewhere() -> None:
    dead = []
    for document in documents():
        text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)", text):
            if re.match(r"[a-z]+:", target):
                continue  # the web is not ours to check
            path, _, fragment = target.partition("#")
            there = document.parent / path if path else document
            if not there.exists():
                dead.append(f"{document.relative_to(ROOT)}: {target}")
            elif fragment and there.suffix == ".md" and fragment not in anchors(there.read_text()):
                dead.append(f"{document.relative_to(ROOT)}: {target} (no such heading)")
    assert not dead


def test_every_decision_record_is_numbered_once_and_says_why_and_what_follows() -> None:
    records = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
    numbers = [path.name[:4] for path in records]
    assert numbers == [f"{number:04d}" for number in range(1, len(records) + 1)]
    for path in records:
        text = path.read_text()
        assert text.startswith(f"# {int(path.name[:4])}. "), path.name
        for heading in ("Status: ", "## Context", "## Decision", "## Consequences"):
            assert heading in text, f"{path.name} lacks {heading}"
