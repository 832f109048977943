"""YAML text to plain values, and the line on which each of them stands."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from inspection.errors import ConfigError

MAX_BYTES = 1 << 20
MAX_NODES = 100_000  # an alias bomb expands past this long before it costs memory
Key = str | int
Where = tuple[Key, ...]


def parse(text: bytes, path: Path) -> tuple[dict[Key, Any], dict[Where, int]]:
    if len(text) > MAX_BYTES:
        raise ConfigError(f"is {len(text)} bytes; a config has at most {MAX_BYTES}", str(path))
    loader: yaml.SafeLoader | None = None
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        lines: dict[Where, int] = {}
        for count, (where, line) in enumerate(_places(node, (), path)):
            if count > MAX_NODES:
                raise ConfigError(f"expands to over {MAX_NODES} values; use fewer aliases", str(path))
            lines[where] = line
        data = loader.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigError(f"is not YAML: {error.problem or error.context}", at) from error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ConfigError(f"is not YAML: {str(error).splitlines()[0]}", str(path)) from error
    finally:
        if loader is not None:
            loader.dispose()
    if not isinstance(data, dict):
        raise ConfigError("holds no settings; it must be a mapping that starts with `site:`", f"{path}:1")
    return data, lines


def _places(node: yaml.Node | None, where: Where, path: Path) -> Iterator[tuple[Where, int]]:
    """Every key with its line; a key that stands twice is an error, since YAML would silently keep the last."""
    if len(where) > 64:
        raise ConfigError("is nested over 64 deep", str(path))
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in seen:
                raise ConfigError(
                    f"{'.'.join(map(str, (*where, name)))}: stands twice (first in line {seen[name]}); keep one",
                    f"{path}:{line}",
                )
            seen[name] = line
            yield (*where, name), line
            yield from _places(value, (*where, name), path)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*where, index), value.start_mark.line + 1
            yield from _places(value, (*where, index), path)
