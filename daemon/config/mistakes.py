"""A mistake in the settings, told with its place and its remedy."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from daemon.config.places import Places
from daemon.config.text import Where, dotted
from inspection.errors import Mistake

MAX_SHOWN = 80
MAX_TEXT = 400
MAX_NUMBER = 10**12  # beyond it a size or a time overflows where it is used


def explained(error: ValidationError, places: Places) -> Iterator[Mistake]:
    for mistake in error.errors(include_url=False, include_input=True):
        where = _without_tags(mistake["loc"], places)
        told = _shortened(_remedy(mistake, places.written(where)), MAX_TEXT)
        yield Mistake(told, places.of(where), dotted(where) or "config")


def misread(settings: Any, given: Any, places: Places, where: Where = ()) -> Iterator[Mistake]:
    """What pydantic takes and a user does not mean: true for a number, a number beyond all use, a path of nothing."""
    inner: list[tuple[Any, Any]]
    if isinstance(settings, BaseModel):
        inner = [(name, getattr(settings, name)) for name in type(settings).model_fields]
    elif isinstance(settings, dict):
        inner = list(settings.items())
    elif isinstance(settings, tuple | list):
        inner = list(enumerate(settings))
    else:
        told = _surprise(settings, given)
        if told:
            yield Mistake(told, places.of(where), dotted(where))
        return
    for key, value in inner:
        below = given.get(key) if isinstance(given, dict) else None
        if isinstance(given, list) and isinstance(key, int) and key < len(given):
            below = given[key]
        yield from misread(value, below, places, (*where, key))


def _surprise(value: Any, given: Any) -> str:
    if isinstance(value, Path):
        empty = isinstance(given, str) and not given.strip()
        return "is empty; write a path, or leave the key out" if empty else ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    if isinstance(given, bool):
        return f"is {str(given).lower()}; write a number"
    return f"is larger than {MAX_NUMBER:g}, which nothing here needs; write less" if abs(value) > MAX_NUMBER else ""


def _without_tags(loc: Where, places: Places) -> Where:
    """A discriminated union puts its tag (`folder`) into the path, which the file does not have."""
    where: Where = ()
    if loc and loc[-1] == "[key]":
        loc = loc[:-1]
    for position, key in enumerate(loc):
        last = position == len(loc) - 1
        inside = (*where, key)
        if places.hold(inside) or last or not _is_camera(where):
            where = inside
    return where


def _is_camera(where: Where) -> bool:
    return len(where) == 4 and where[0] == "stations" and where[2] == "cameras"


def _remedy(mistake: Any, written: str | None) -> str:  # noqa: C901 - one line a kind of mistake
    """`written`: how the value stands in the file, where it is no text to YAML."""
    kind, context = mistake["type"], mistake.get("ctx", {})
    given = mistake.get("input")
    shown = _shortened(repr(given), MAX_SHOWN) if isinstance(given, str | int | float | bool) else type(given).__name__
    shown = "empty" if given is None else written or shown
    match kind:
        case "extra_forbidden":
            return "is not a setting; see docs/reference/config.md for those there are"
        case "missing":
            return "is missing; add it"
        case "literal_error" | "enum":
            return f"is {shown}; allowed: {context['expected']}{_quotes(given, written, context['expected'])}"
        case "union_tag_invalid":
            return f"`kind` is {context['tag']!r}; allowed: {context['expected_tags']}"
        case "union_tag_not_found":
            return "has no `kind`; add it: simulated, folder, opencv or genicam"
        case "model_type" | "dict_type":
            return f"is {shown}; write its keys below it, or leave it out"
        case "string_type" | "path_type" if written and given is not None:
            is_what = "true or false" if isinstance(given, bool) else "a number"
            return f'is {written}, which is {is_what} in YAML; for text write it in quotes: "{written}"'
        case "int_parsing" | "int_type" | "int_from_float" | "float_parsing" | "float_type":
            return f"is {shown}; write {'a whole number' if kind.startswith('int') else 'a number'} in decimal digits"
        case "string_pattern_mismatch":
            return f"is {shown}; use letters, digits, - and _, at most 32, starting with a letter or digit"
        case "value_error":
            return str(context["error"])
        case _:
            return f"is {shown}: {mistake['msg'].lower()}"


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}..."


def _quotes(given: Any, written: str | None, expected: str) -> str:
    """What to do with the quotes where nothing else keeps the value from being allowed."""
    if written and given is not None and f"'{written}'" in expected:
        return f'; write it in quotes: "{written}"'
    if isinstance(given, str) and given in expected.replace(",", "").split():
        return f"; write it without quotes: {given}"
    return ""
