"""From a file and the environment to settings."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from camera.opencv import OpencvConfig
from daemon.config.environment import override
from daemon.config.mistakes import explain
from daemon.config.settings import Config
from daemon.config.text import parse
from inspection.errors import ConfigError

M = TypeVar("M", bound=BaseModel)


def load(path: Path, environ: Mapping[str, str] = os.environ) -> Config:
    """Read and validate a config file; relative paths in it are taken from its folder.

    A bare file name that the service manager passes as a credential means that one ($CREDENTIALS_DIRECTORY).
    A variable LINEGATE_A__B overrides key a.b. Raises ConfigError naming every mistake with file:line, key and
    what is allowed.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", str(path)) from error
    data, lines = parse(text, path)
    overridden = override(data, environ)
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError(explain(error, path, lines, overridden)) from error
    credentials = environ.get("CREDENTIALS_DIRECTORY")
    return _anchored(config, path.resolve().parent, Path(credentials) if credentials else None)


def _anchored(model: M, base: Path, credentials: Path | None) -> M:
    """The same settings with every relative path taken from `base`, but a credential's from `credentials`."""

    def anchor(value: Any) -> Any:
        match value:
            case Path():
                passed = credentials is not None and len(value.parts) == 1 and (credentials / value).is_file()
                return (credentials if credentials and passed else base) / value.expanduser()
            case OpencvConfig(source_type="file"):
                # A file among the things that OpenCV opens by one string.
                source = str(base / Path(value.source).expanduser())
                return _anchored(value, base, credentials).model_copy(update={"source": source})
            case BaseModel():
                return _anchored(value, base, credentials)
            case dict():
                return {key: anchor(inner) for key, inner in value.items()}
            case tuple():
                return tuple(anchor(inner) for inner in value)
            case _:
                return value

    changed = {name: anchor(getattr(model, name)) for name in type(model).model_fields}
    return model.model_copy(update=changed)
