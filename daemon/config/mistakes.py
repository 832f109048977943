"""A mistake in the settings, told with its place and its remedy."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from daemon.config.text import Where


def explain(error: ValidationError, path: Path, lines: Mapping[Where, int], overridden: Mapping[Where, str]) -> str:
    told: list[str] = []
    for mistake in error.errors(include_url=False, include_input=True):
        where = _without_tags(mistake["loc"], lines, overridden)
        source = next((overridden[where[:n]] for n in range(len(where), 0, -1) if where[:n] in overridden), None)
        if source:
            at = f"environment {source}"
        else:
            line = next((lines[where[:n]] for n in range(len(where), 0, -1) if where[:n] in lines), 1)
            at = f"{path}:{line}"
        told.append(f"{at}: {'.'.join(map(str, where)) or 'config'}: {_remedy(mistake)}")
    return "\n".join(told)


def _without_tags(loc: Where, lines: Mapping[Where, int], overridden: Mapping[Where, str]) -> Where:
    """A discriminated union puts its tag (`folder`) into the path, which the file does not have."""
    where: Where = ()
    if loc and loc[-1] == "[key]":
        loc = loc[:-1]
    for position, key in enumerate(loc):
        last = position == len(loc) - 1
        inside = (*where, key)
        known = inside in lines or any(place[: len(inside)] == inside for place in overridden)
        if known or last or not _is_camera(where):
            where = inside
    return where


def _is_camera(where: Where) -> bool:
    return len(where) == 4 and where[0] == "stations" and where[2] == "cameras"


def _remedy(mistake: Any) -> str:
    kind, context = mistake["type"], mistake.get("ctx", {})
    given = mistake.get("input")
    shown = repr(given) if isinstance(given, str | int | float | bool) else type(given).__name__
    match kind:
        case "extra_forbidden":
            return "is not a setting; see docs/reference/config.md for those there are"
        case "missing":
            return "is missing; add it"
        case "literal_error" | "enum":
            return f"is {shown}; allowed: {context['expected']}"
        case "union_tag_invalid":
            return f"`kind` is {context['tag']!r}; allowed: {context['expected_tags']}"
        case "union_tag_not_found":
            return "has no `kind`; add it: simulated, folder, opencv or genicam"
        case "model_type" | "dict_type":
            return f"is {'empty' if given is None else shown}; write its keys below it, or leave it out"
        case "string_pattern_mismatch":
            return f"is {shown}; use letters, digits, - and _, at most 32, starting with a letter or digit"
        case "value_error":
            return str(context["error"])
        case _:
            return f"is {shown}: {mistake['msg'].lower()}"
