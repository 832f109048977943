"""docs/reference/commands.md tells of every command and option that there is, and of no other."""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.cli import EX_CONFIG, EX_TEMPFAIL, parser

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "commands.md").read_text()
SECTIONS = dict(re.findall(r"^## linegate (\S+)\n\n(.+?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def commands() -> dict[str, argparse.ArgumentParser]:
    (found,) = (action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(found.choices)


def options(command: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    return (action for action in command._actions if not isinstance(action, argparse._HelpAction))


def test_every_command_has_a_section_in_the_order_of_the_help() -> None:
    assert list(SECTIONS) == list(commands()), "docs/reference/commands.md has another list of commands than linegate"


@pytest.mark.parametrize("name", commands())
def test_a_section_has_exactly_the_options_of_its_command(name: str) -> None:
    there = {text for action in options(commands()[name]) for text in action.option_strings if text.startswith("--")}
    told = set(re.findall(r"`(--[a-z-]+)", SECTIONS.get(name, "")))
    assert told == there, f"linegate {name}: docs/reference/commands.md does not match the options"


def cells(name: str, option: str) -> list[str]:
    """The row of the command's table that begins with this option alone; empty where there is none."""
    row = re.search(rf"^\| `{option}[^`|]*` \|.+$", SECTIONS[name], re.MULTILINE)
    return [cell.strip() for cell in row[0].split("|")[1:-1]] if row else []


@pytest.mark.parametrize("name", ["demo", "plc", "snapshot", "train", "evaluate"])
def test_a_default_on_the_page_is_that_of_the_command(name: str) -> None:
    wrong, checked = {}, 0
    for action in options(commands()[name]):
        row = cells(name, action.option_strings[-1]) if action.option_strings else []
        # Prose such as "one for each core" stands for a default of 0 or none.
        if row and re.search(r"[\d`]", row[1]):
            checked += 1
            shown = f"{action.default:g}" if isinstance(action.default, float) else str(action.default)
            if row[1].strip("`") != shown:
                wrong[row[0]] = f"{row[1]} instead of {shown}"
    assert checked >= 2
    assert not wrong


@pytest.mark.parametrize("name", commands())
def test_a_section_names_what_comes_after_the_command(name: str) -> None:
    for action in options(commands()[name]):
        if not action.option_strings:
            shown = str(action.metavar or action.dest).upper()
            assert re.search(rf"`linegate {name} [^`]*{shown}", SECTIONS[name]), shown


def test_the_exit_codes_are_on_the_page() -> None:
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}
    assert told == {0, 1, 2, EX_TEMPFAIL, EX_CONFIG, 130}


@pytest.mark.parametrize("name", commands())
def test_the_help_reads_well(name: str) -> None:
    command = commands()[name]
    assert "%%" not in command.format_help()
    assert not [action.dest for action in options(command) if not action.help and not action.choices]
