"""Variables that override keys of the file."""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from daemon.config.text import Document, Where, dotted, parse
from inspection.errors import ConfigError

ENV_PREFIX = "LINEGATE_"

# What Kubernetes, and Docker's links, tell every container of a service whose name begins with linegate. Each name goes
# with the form of its value, so that LINEGATE_MQTT_PORT=8883, which was to be LINEGATE_MQTT__PORT, is still a mistake.
_SERVICE = tuple(
    (re.compile(name), re.compile(value))
    for name, value in (
        (r"SERVICE_HOST", r"[0-9A-Fa-f.:]*|None"),
        (r"SERVICE_PORT(?:_[A-Z0-9_]+)?", r"[0-9]+"),
        (r"PORT", r"(?:tcp|udp|sctp)://\S+"),
        (r"PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_START|_END)?", r"(?:tcp|udp|sctp)://\S+"),
        (r"PORT_[0-9]+_(?:TCP|UDP|SCTP)_PROTO", r"tcp|udp|sctp"),
        (r"PORT_[0-9]+_(?:TCP|UDP|SCTP)_PORT(?:_START|_END)?", r"[0-9]+"),
        (r"PORT_[0-9]+_(?:TCP|UDP|SCTP)_ADDR", r"[0-9A-Fa-f.:]+"),
        (r"NAME", r"/\S+"),
    )
)


def ignored(environ: Mapping[str, str]) -> list[str]:
    """The variables that begin with our prefix and tell of a network service; sorted."""
    return sorted(name for name, value in environ.items() if name.startswith(ENV_PREFIX) and _of_service(name, value))


def override(data: dict[str, Any], environ: Mapping[str, str]) -> dict[Where, tuple[str, Document]]:
    """Put LINEGATE_A__B over a.b in `data`; answers which places came from which variable. Raises ConfigError."""
    overridden: dict[Where, tuple[str, Document]] = {}
    for variable in sorted(name for name in environ if name.startswith(ENV_PREFIX)):
        if _of_service(variable, environ[variable]):
            continue
        where: tuple[str, ...] = tuple(variable.removeprefix(ENV_PREFIX).lower().split("__"))
        document = parse(environ[variable], partial(_at, variable))
        place: Any = data
        for depth, key in enumerate(where[:-1], 1):
            inner = place.get(key)
            if inner is None:
                inner = place[key] = {}
            if not isinstance(inner, dict):
                raise ConfigError(f"{dotted(where[:depth])} holds no keys", _at(variable), key=dotted(where))
            place = inner
        place[where[-1]] = document.value
        overridden[where] = (variable, document)
    return overridden


def _at(variable: str, _line: int = 1) -> str:
    return f"environment {variable}"


def _of_service(variable: str, value: str) -> bool:
    name = variable.removeprefix(ENV_PREFIX)
    return "__" not in name and any(
        told.fullmatch(value) and tail.fullmatch(end) for end in _ends(name) for tail, told in _SERVICE
    )


def _ends(name: str) -> Iterator[str]:
    """The name, and what follows each of its words: a service may be called linegate-press."""
    words = name.split("_")
    return ("_".join(words[start:]) for start in range(len(words)))
