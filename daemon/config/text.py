"""YAML text to plain values by the core schema of YAML 1.2, and the line on which each of them stands."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import yaml

from inspection.errors import ConfigError

MAX_BYTES = 1 << 20
MAX_NODES = 50_000  # an alias bomb expands past this long before it costs memory
MAX_DEPTH = 64
MAX_DIGITS = 40
MAX_KEY = 200
Key = str | int
Where = tuple[Key, ...]
At = Callable[[int], str]
"""What an error says of a line of the text: its file and number, or the name of a variable."""

_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
# YAML 1.2.2, section 10.3.2, and the merge key of YAML 1.1. PyYAML's own rules read 0500 as 320 and 21:43 as 1303.
_CORE = {
    "null": (re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""]),
    "bool": (re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF")),
    "int": (re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z"), list("-+0123456789")),
    "float": (
        re.compile(
            r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
            r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
        ),
        list("-+.0123456789"),
    ),
    "merge": (re.compile(r"<<\Z"), ["<"]),
}
# Line breaks and tabs may stand in a text of several lines; nothing else that does not print.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Document:
    """A value with its places. `written` has the text of each value that is not text, as it stands in the file."""

    value: Any
    lines: dict[Where, int]
    written: dict[Where, str]


def decode(raw: bytes, at: At) -> str:
    """The text of a file: UTF-8, or UTF-16 with its mark. Raises ConfigError."""
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError("is not UTF-8 text; save the file as UTF-8", at(line)) from error


def parse(text: str, at: At) -> Document:
    """Raises ConfigError, with the line and the key where they are known."""
    odd = _CONTROL.search(text)
    if odd:
        line = text.count("\n", 0, odd.start()) + 1
        raise ConfigError(f"holds the character {odd[0]!r}, which no setting may; remove it", at(line))
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigError(f"is not YAML: {_problem(error, text, line)}", at(line)) from error
    except (yaml.YAMLError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
        told = str(error).splitlines() or [type(error).__name__]
        raise ConfigError(f"is not YAML: {told[0]}", at(loader.line + 1)) from error
    finally:
        loader.dispose()
    builder = _Builder(at)
    value = None if node is None else builder.value(node, ())
    return Document(value, builder.lines, builder.written)


def quoted(text: str) -> str:
    """A scalar that is read as this text."""
    plain = re.fullmatch(r"[A-Za-z0-9/_.][A-Za-z0-9/_.@+-]*", text)
    if plain and not any(pattern.match(text) for pattern, _ in _CORE.values()):
        return text
    return json.dumps(text, ensure_ascii=False)


def dotted(where: Where) -> str:
    return ".".join(map(str, where))


def _problem(error: yaml.MarkedYAMLError, text: str, line: int) -> str:
    rows = text.splitlines()
    row = rows[line - 1] if line <= len(rows) else ""
    if "\t" in row[: len(row) - len(row.lstrip())]:
        return "a tab stands before the first word; indent with spaces"
    return error.problem or error.context or "it cannot be read"


class _Loader(yaml.SafeLoader):
    """Composes nodes, and refuses too many of them, or too deep ones, before they cost memory or stack."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's own name

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._count = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        self._count += 1
        if self._depth > MAX_DEPTH:
            raise yaml.composer.ComposerError(None, None, f"it is nested over {MAX_DEPTH} deep", self._mark())
        if self._count > MAX_NODES:
            raise yaml.composer.ComposerError(None, None, f"it holds over {MAX_NODES} values", self._mark())
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def _mark(self) -> yaml.Mark:
        mark: yaml.Mark = self.get_mark()
        return mark


for _name, (_pattern, _first) in _CORE.items():
    _Loader.add_implicit_resolver(f"{_TAG}{_name}", _pattern, _first)


@dataclass(slots=True)
class _Builder:
    """Makes values of nodes. Each alias becomes a value of its own, so that they can be changed apart."""

    at: At
    lines: dict[Where, int] = field(default_factory=dict)
    written: dict[Where, str] = field(default_factory=dict)
    _count: int = 0
    _open: set[int] = field(default_factory=set)

    def value(self, node: yaml.Node, where: Where) -> Any:
        match node:
            case yaml.ScalarNode():
                return self._scalar(node, where)
            case yaml.SequenceNode() if node.tag == f"{_TAG}seq":
                return self._inside(node, where, partial(self._sequence, node, where))
            case yaml.MappingNode() if node.tag == f"{_TAG}map":
                return self._inside(node, where, partial(self._mapping, node, where))
            case _:
                raise self._tagged(node, where)

    def _inside(self, node: yaml.Node, where: Where, make: Callable[[], Any]) -> Any:
        if id(node) in self._open:
            raise self._refused("holds itself by an alias; write it out", node, where)
        if len(where) > MAX_DEPTH:
            raise self._refused(f"is nested over {MAX_DEPTH} deep", node, ())
        self._open.add(id(node))
        made = make()
        self._open.remove(id(node))
        return made

    def _sequence(self, node: yaml.SequenceNode, where: Where) -> list[Any]:
        made = []
        for index, inner in enumerate(node.value):
            self._counted(inner)
            self.lines[*where, index] = _line(inner)
            made.append(self.value(inner, (*where, index)))
        return made

    def _mapping(self, node: yaml.MappingNode, where: Where) -> dict[str, Any]:
        made = {}
        for key, (name, inner) in self._pairs(node, where).items():
            self.lines[*where, key] = _line(name)
            made[key] = self.value(inner, (*where, key))
        return made

    def _pairs(self, node: yaml.MappingNode, where: Where) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """By key. A mapping's own keys come before those that it merges, and of those the first counts."""
        own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        seen: dict[str, int] = {}
        merged: yaml.Node | None = None
        for name, inner in node.value:
            self._counted(name)
            key = self._key(name, where)
            if key in seen:
                told = f"stands twice (first in line {seen[key]}); keep one"
                raise ConfigError(told, self.at(_line(name)), key=dotted((*where, key)))
            seen[key] = _line(name)
            if name.tag == _MERGE:
                merged = inner
            else:
                own[key] = (name, inner)
        for source in self._merged(merged, where) if merged is not None else ():
            for key, pair in self._inside(source, where, partial(self._pairs, source, where)).items():
                own.setdefault(key, pair)
        return own

    def _merged(self, node: yaml.Node, where: Where) -> Iterator[yaml.MappingNode]:
        for source in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(source, yaml.MappingNode):
                raise self._refused("`<<` takes a mapping, or a list of mappings, by their aliases", source, where)
            yield source

    def _key(self, node: yaml.Node, where: Where) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise self._refused("a key is a list or a mapping; keys are names", node, where)
        if node.tag == _MERGE:
            return "<<"
        if len(node.value) > MAX_KEY:
            raise self._refused(f"a key has over {MAX_KEY} characters; names are shorter", node, where)
        if node.tag == f"{_TAG}str":
            return self._text(node, where)
        if node.tag.removeprefix(_TAG) not in _CORE:
            raise self._tagged(node, where)
        shown = node.value[:MAX_DIGITS]
        raise self._refused(f'the key {shown} is {_kind(node)} in YAML; write it in quotes: "{shown}"', node, where)

    def _scalar(self, node: yaml.ScalarNode, where: Where) -> Any:
        kind, text = node.tag.removeprefix(_TAG), node.value
        if kind in ("str", "merge"):
            return self._text(node, where)
        if kind not in _CORE:
            raise self._tagged(node, where)
        if not _CORE[kind][0].match(text):
            raise self._refused(
                f"is tagged !!{kind}, which {text[:MAX_DIGITS]!r} is not; leave the tag out", node, where
            )
        if kind in ("int", "float") and len(text) > MAX_DIGITS:
            raise self._refused(f"is a number of over {MAX_DIGITS} characters; no setting takes it", node, where)
        self.written[where] = text
        match kind:
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int":
                return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
            case _:
                return float(re.sub(r"\.(?=[in])", "", text.lower()))

    def _text(self, node: yaml.ScalarNode, where: Where) -> str:
        # JSON writes a character beyond 16 bits as two escapes.
        text: str = node.value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        odd = _CONTROL.search(text)
        if odd:
            raise self._refused(f"holds the character {odd[0]!r}, which no setting may; remove it", node, where)
        return text

    def _counted(self, node: yaml.Node) -> None:
        self._count += 1
        if self._count > MAX_NODES:
            raise self._refused(f"expands to over {MAX_NODES} values; use fewer aliases", node, ())

    def _tagged(self, node: yaml.Node, where: Where) -> ConfigError:
        shown = node.tag.replace(_TAG, "!!")
        return self._refused(f"carries the tag {shown[:MAX_DIGITS]}, which no setting takes; leave it out", node, where)

    def _refused(self, message: str, node: yaml.Node, where: Where) -> ConfigError:
        return ConfigError(message, self.at(_line(node)), key=dotted(where))


def _line(node: yaml.Node) -> int:
    line: int = node.start_mark.line
    return line + 1


def _kind(node: yaml.Node) -> str:
    return {"null": "an empty value", "bool": "true or false"}.get(node.tag.removeprefix(_TAG), "a number")
