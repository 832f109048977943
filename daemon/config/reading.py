"""From a file and the environment to settings."""

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from camera.opencv import OpencvConfig
from daemon.config.environment import override
from daemon.config.mistakes import explained, misread
from daemon.config.places import Places
from daemon.config.settings import Config
from daemon.config.text import MAX_BYTES, Where, decode, dotted, parse
from inspection.errors import ConfigError, Mistake, UnavailableError, may_pass
from inspection.whole import read_file, what_is

MAX_MISTAKES = 50
M = TypeVar("M", bound=BaseModel)


def load(path: Path, environ: Mapping[str, str] = os.environ) -> Config:
    """Read and validate a config file; relative paths in it are taken from its folder.

    A bare file name that the service manager passes as a credential means that one ($CREDENTIALS_DIRECTORY).
    A variable LINEGATE_A__B overrides key a.b. Raises ConfigError naming every mistake with file:line, key and
    what is allowed, and UnavailableError where the file cannot be read now.
    """
    try:
        raw = read_file(path, MAX_BYTES)
    except OSError as error:
        if may_pass(error):
            raise UnavailableError(f"{path}: cannot be read: {error.strerror}") from error
        remedy = "; `linegate init` writes one, and `linegate demo` needs none" if error.errno == errno.ENOENT else ""
        raise ConfigError(f"cannot be read: {error.strerror}{remedy}", str(path)) from error
    return read(raw, path, environ)


def read(raw: bytes, path: Path, environ: Mapping[str, str] = os.environ) -> Config:
    """As `load`, of what is to stand in `path` or stands there. Raises ConfigError."""
    places = _places(raw, path, environ)
    data = places.file.value
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError(mistakes=_first(explained(error, places))) from error
    credentials = environ.get("CREDENTIALS_DIRECTORY")
    anchor = _Anchor(Path(os.path.realpath(path)).parent, Path(credentials) if credentials else None, places)
    anchored = anchor.model(config, ())
    mistakes = [*misread(config, data, places), *anchor.mistakes]
    if mistakes:
        raise ConfigError(mistakes=_first(mistakes))
    return anchored


def _places(raw: bytes, path: Path, environ: Mapping[str, str]) -> Places:
    """What the file and the variables say, a mapping, with the place of each setting. Raises ConfigError."""

    def at(line: int) -> str:
        return f"{path}:{line}"

    document = parse(decode(raw, at), at)
    if not isinstance(document.value, dict):
        raise ConfigError("holds no settings; it must be a mapping that starts with `site:`", at(1))
    return Places(at, document, override(document.value, environ))


@contextmanager
def placed(path: Path, environ: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Give each mistake of a ConfigError that is raised inside the place of its key in the file, or its variable."""
    try:
        yield
    except ConfigError as error:
        if all(mistake.where or not mistake.key for mistake in error.mistakes):
            raise
        try:
            places = _places(read_file(path, MAX_BYTES), path, environ)
        except (OSError, ConfigError):
            raise error from error.__cause__
        mistakes = tuple(
            mistake
            if mistake.where or not mistake.key
            else replace(mistake, where=places.of(tuple(mistake.key.split("."))))
            for mistake in error.mistakes
        )
        raise ConfigError(mistakes=mistakes) from error.__cause__


def _first(mistakes: Iterable[Mistake]) -> tuple[Mistake, ...]:
    """As many as somebody reads."""
    listed = list(mistakes)
    rest = len(listed) - MAX_MISTAKES
    more = [Mistake(f"and {rest} more mistakes; mend these first")] if rest > 0 else []
    return (*listed[:MAX_MISTAKES], *more)


@dataclass(frozen=True, slots=True)
class _Anchor:
    """Takes every relative path from `base`, but a credential's from `credentials`."""

    base: Path
    credentials: Path | None
    places: Places
    mistakes: list[Mistake] = field(default_factory=list)

    def model(self, model: M, where: Where) -> M:
        changed = {name: self._value(getattr(model, name), (*where, name)) for name in type(model).model_fields}
        if isinstance(model, OpencvConfig) and model.source_type == "file":
            # A file among the things that OpenCV opens by one string.
            changed["source"] = str(self.base / self._expanded(Path(model.source), (*where, "source")))
        return model.model_copy(update=changed)

    def _value(self, value: Any, where: Where) -> Any:
        match value:
            case Path():
                return self._path(value, where)
            case BaseModel():
                return self.model(value, where)
            case dict():
                return {key: self._value(inner, (*where, key)) for key, inner in value.items()}
            case tuple():
                return tuple(self._value(inner, (*where, index)) for index, inner in enumerate(value))
            case _:
                return value

    def _path(self, path: Path, where: Where) -> Path:
        if self.credentials is not None and len(path.parts) == 1 and what_is(self.credentials / path) == "file":
            return self.credentials / path
        return self.base / self._expanded(path, where)

    def _expanded(self, path: Path, where: Where) -> Path:
        try:
            return path.expanduser()
        except RuntimeError:
            told = f"is {path}, and no such user has a home here; write the whole path"
            self.mistakes.append(Mistake(told, self.places.of(where), dotted(where)))
            return path
