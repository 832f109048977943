"""config.yaml: what may be set, with limits and defaults."""

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)

from camera.kinds import CameraConfig
from daemon.archive import ArchiveConfig
from transport.mqtt.config import BrokerConfig
from transport.records.config import RecordsConfig
from transport.triggers import TriggerLimits
from vision.backends.choose import BackendChoice
from vision.signature import KEY_LINE
from vision.watch import DriftConfig

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


def _host_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?", value):
        raise ValueError(f"is {value!r}; write the name alone, such as linebox1.plant.example: no port, no *")
    return value


HostName = Annotated[str, AfterValidator(_host_name)]


class HttpConfig(Settings):
    """The status page, /metrics, /healthz and /readyz."""

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on; loopback by default.")
    port: int = Field(9580, ge=0, le=65535, description="0 takes a free port.")
    hosts: list[HostName] = Field(
        default_factory=list,
        max_length=64,
        description="Names, without port, under which a browser may ask for the page: those of this machine in the "
        "DNS, or of a proxy before it. `localhost`, `host` and any IP address always may; /metrics, /healthz and "
        "/readyz are answered under every name.",
    )


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


def schema() -> dict[str, Any]:
    """The JSON schema of config.yaml, for editors."""
    document = Config.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **document, "title": "linegate config"}
