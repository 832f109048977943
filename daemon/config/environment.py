"""Variables that override keys of the file."""

from collections.abc import Mapping
from typing import Any

import yaml

from daemon.config.text import Key, Where
from inspection.errors import ConfigError

ENV_PREFIX = "LINEGATE_"


def override(data: dict[Key, Any], environ: Mapping[str, str]) -> dict[Where, str]:
    """Put LINEGATE_A__B over a.b in `data`; answers which places came from which variable."""
    overridden: dict[Where, str] = {}
    for variable in sorted(name for name in environ if name.startswith(ENV_PREFIX)):
        where = tuple(variable.removeprefix(ENV_PREFIX).lower().split("__"))
        try:
            value = yaml.safe_load(environ[variable])
        except yaml.YAMLError as error:
            raise ConfigError("is not a YAML value", f"environment {variable}") from error
        place: Any = data
        for key in where[:-1]:
            inner = place.get(key)
            if inner is None:
                inner = place[key] = {}
            if not isinstance(inner, dict):
                raise ConfigError(f"{'.'.join(where)}: {key} holds no keys", f"environment {variable}")
            place = inner
        place[where[-1]] = value
        overridden[where] = variable
    return overridden
