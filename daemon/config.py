"""config.yaml: what may be set, read so that every mistake is named with its line and its remedy."""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from camera.kinds import CameraConfig
from camera.opencv import OpencvConfig
from daemon.archive import ArchiveConfig
from inspection.errors import ConfigError
from transport.mqtt.config import BrokerConfig
from transport.records.config import RecordsConfig
from transport.triggers import TriggerLimits
from vision.backends.choose import BackendChoice
from vision.signature import KEY_LINE
from vision.watch import DriftConfig

MAX_BYTES = 1 << 20
MAX_NODES = 100_000  # an alias bomb expands past this long before it costs memory
ENV_PREFIX = "LINEGATE_"
Key = str | int
Where = tuple[Key, ...]
M = TypeVar("M", bound=BaseModel)

# A name becomes an MQTT topic level, a metric label and a folder, so it is kept plain.
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]


def _line_or_file(value: object) -> str | Path:
    if not isinstance(value, str) or not value:
        raise ValueError("must be the line of a minisign public key, or the name of its file")
    return value if re.match(KEY_LINE, value) else Path(value)


# Base64 may hold a /, so that a key must not be taken for a path.
PublicKeyOrFile = Annotated[str | Path, PlainValidator(_line_or_file), WithJsonSchema({"type": "string"})]


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelConfig(Settings):
    """Which bundle decides, and on what."""

    bundle: Path = Field(description="Folder of the model bundle, as `linegate train` writes it.")
    public_key: PublicKeyOrFile | None = Field(
        None,
        description="Minisign public key: the line that begins with RW, or the .pub file. Where it is set, only "
        "bundles that are signed with its secret key are used.",
    )
    backend: BackendChoice = Field(
        "auto",
        description="What runs the network. `auto` takes CUDA where there is one, else the fastest installed "
        "CPU backend that agrees with the bundle's golden pictures; INT8 only where the bundle's certificate says that "
        "it costs no more than 0.002 of AUROC.",
    )
    threads: int = Field(0, ge=0, le=256, description="CPU threads of the worker; 0 takes every core.")
    max_batch: int = Field(8, ge=1, le=64, description="Most crops in one batch.")
    max_waiting: int = Field(256, ge=1, le=65536, description="Most crops waiting; beyond it: overload.")
    hang_timeout_s: float = Field(5.0, gt=0, le=600, description="A batch that takes longer is killed.")
    library: Path | None = Field(
        None,
        description="Folder of bundles that the MQTT topic `…/command` may name; without it nothing listens there. "
        "`linegate promote` may name any folder.",
    )
    pass_below: float | None = Field(
        None, ge=0, le=1, description="PASS below this score; the bundle's own threshold when left out."
    )
    fail_above: float | None = Field(
        None, ge=0, le=1, description="FAIL from this score on; the bundle's own threshold when left out."
    )

    @model_validator(mode="after")
    def _ordered(self) -> "ModelConfig":
        if self.pass_below is not None and self.fail_above is not None and self.pass_below > self.fail_above:
            raise ValueError("pass_below must not be above fail_above")
        return self


class KeepingConfig(RecordsConfig):
    """The record store, and the pictures beside it."""

    archive: ArchiveConfig | None = Field(
        None, description="Where pictures of judged parts are kept; none are when it is left out."
    )


class HttpConfig(Settings):
    """The status page, /metrics, /healthz and /readyz."""

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on; loopback by default.")
    port: int = Field(9580, ge=0, le=65535, description="0 takes a free port.")


class LogConfig(Settings):
    """What is told on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least that is told.")
    format: Literal["human", "json"] = Field("human", description="`json` writes one object a line.")


class StationConfig(Settings):
    """One inspection point."""

    mode: Literal["triggered", "free_running"] = Field(
        description="`triggered`: a part is inspected when a trigger asks for it. `free_running`: every picture "
        "of every camera is a part."
    )
    deadline_ms: int = Field(
        1000, ge=20, le=60000, description="Free-running: milliseconds from the capture to the verdict."
    )
    answer_margin_ms: int = Field(
        20,
        ge=1,
        le=1000,
        description="An open part is answered this long before its deadline, so that NO_VERDICT too is in "
        "time. Never more than a fifth of the part's window.",
    )
    max_open: int = Field(64, ge=1, le=4096, description="Most parts in inspection at once; beyond: overload.")
    trigger: TriggerLimits = Field(default_factory=TriggerLimits, description="Limits on triggers.")
    cameras: dict[Name, CameraConfig] = Field(min_length=1, max_length=16, description="The station's cameras by name.")

    @property
    def usual_deadline_ms(self) -> int:
        """What a part has where its trigger names nothing else; an edge of the latency histograms."""
        return self.trigger.default_deadline_ms if self.mode == "triggered" else self.deadline_ms


class Config(Settings):
    """The whole of config.yaml."""

    site: Name = Field(description="First level of the MQTT prefix linegate/SITE/LINE/STATION.")
    line: Name = Field(description="Second level of the MQTT prefix.")
    state_dir: Path = Field(description="Where records wait and caches live; one daemon at a time.")
    model: ModelConfig = Field(description="Which bundle decides, and on what.")
    mqtt: BrokerConfig = Field(default_factory=BrokerConfig, description="The broker.")
    records: KeepingConfig = Field(default_factory=KeepingConfig, description="The record store.")
    drift: DriftConfig = Field(
        default_factory=DriftConfig, description="Alarms when pictures or scores are no longer what they were."
    )
    http: HttpConfig = Field(default_factory=HttpConfig, description="The status page, /metrics, /healthz and /readyz.")
    log: LogConfig = Field(default_factory=LogConfig, description="What is told on standard error.")
    stations: dict[Name, StationConfig] = Field(
        min_length=1, max_length=32, description="The stations of this daemon by name; they share one worker."
    )

    @property
    def hash(self) -> str:
        """The first 12 hex digits of the sha256 of the effective settings; goes into every record."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


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
    data, lines = _parse(text, path)
    overridden = _override(data, environ)
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError(_explain(error, path, lines, overridden)) from error
    credentials = environ.get("CREDENTIALS_DIRECTORY")
    return _anchored(config, path.resolve().parent, Path(credentials) if credentials else None)


def schema() -> dict[str, Any]:
    """The JSON schema of config.yaml, for editors."""
    document = Config.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **document, "title": "linegate config"}


def _parse(text: bytes, path: Path) -> tuple[dict[Key, Any], dict[Where, int]]:
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


def _override(data: dict[Key, Any], environ: Mapping[str, str]) -> dict[Where, str]:
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


def _explain(error: ValidationError, path: Path, lines: Mapping[Where, int], overridden: Mapping[Where, str]) -> str:
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
