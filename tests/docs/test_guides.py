"""What the guides tell a reader to write and to run is what the program takes; what they name is there."""

import ast
import re
import shlex
from pathlib import Path

import pytest

from daemon.cli import parser
from daemon.config import load

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "grafana" / "README.md", *DOCS.rglob("*.md")])
COMMAND = re.compile(r"^(?:[$#] )?(?:\S*/)?linegate ([a-z]+(?: .*)?)$", re.MULTILINE)
PLACE = re.compile(r"`([\w/]+\.py):([\w.]+)`")


def blocks(page: Path, language: str = "") -> list[str]:
    """The page's code blocks, fenced or indented by four."""
    text = page.read_text()
    fenced = re.findall(rf"^```{language or '[a-z]*'}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return fenced if language else [*fenced, *re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE)]


def commands(page: Path) -> list[str]:
    found = [line for block in blocks(page) for line in COMMAND.findall(block)]
    return [re.split(r" (?:&&|[|#&>])(?: |$)", line)[0] for line in found]


def names(path: Path) -> set[str]:
    """Functions, classes and Class.method of a module."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {
                f"{node.name}.{inner.name}"
                for inner in node.body
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)
            }
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page_are_accepted(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused = []
    for command in commands(page):
        try:
            parser().parse_args(shlex.split(command))
        except SystemExit as ended:
            if ended.code:
                refused.append(f"linegate {command}: {capsys.readouterr().err.splitlines()[-1]}")
    assert not refused


def test_the_guides_hold_commands() -> None:
    assert sum(len(commands(page)) for page in PAGES) >= 15


def test_the_configuration_of_the_tutorial_is_one(tmp_path: Path) -> None:
    (text,) = blocks(DOCS / "tutorials" / "first-station.md", "yaml")
    path = tmp_path / "first.yaml"
    path.write_text(text)
    config = load(path, {})
    assert (config.mqtt.port, config.http.port) == (1883, 9581)
    station = f"linegate/{config.site}/{config.line}/{next(iter(config.stations))}"
    asked = [command for command in commands(DOCS / "tutorials" / "first-station.md") if command.startswith("plc")]
    assert len(asked) == 2
    assert all(f"--prefix {station} " in f"{command} " for command in asked)


def test_every_function_that_an_explanation_names_exists() -> None:
    text = "".join(path.read_text() for path in sorted((DOCS / "explanation").glob("*.md")))
    places = PLACE.findall(text)
    assert len(places) > 30
    assert not [f"{file}:{name}" for file, name in places if name not in names(ROOT / file)]


def test_every_document_is_in_the_contents() -> None:
    contents = (DOCS / "README.md").read_text()
    linked = {(DOCS / target).resolve() for target in re.findall(r"\]\(([^)#]+)\)", contents)}
    told = {page for page in DOCS.rglob("*.md") if page.name != "README.md" and page.parent.name != "adr"}
    assert told <= linked
