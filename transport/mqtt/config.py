"""Where the broker is, and how a connection to it is made and kept."""

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from inspection.errors import ConfigError
from inspection.whole import read_file, what_is
from transport.tls import TlsConfig

_MAX_PASSWORD = 65535  # bytes: MQTT can carry no longer one


class BrokerConfig(BaseModel):
    """Where the broker is and how we prove who we are."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    host: str = Field("127.0.0.1", min_length=1, description="Name or address of the MQTT broker.")
    port: int = Field(1883, ge=1, le=65535, description="TCP port of the broker; 8883 is usual with TLS.")
    version: Literal["5", "3.1.1"] = Field("5", description="MQTT protocol version.")
    client_id: str = Field(
        "linegate",
        pattern=r"^[A-Za-z0-9_.-]{1,64}$",
        description="First part of the client ids; station and purpose are added.",
    )
    username: str | None = Field(None, description="User name at the broker.")
    password_file: Path | None = Field(
        None,
        description="File with the password; a bare name is looked for in $CREDENTIALS_DIRECTORY (systemd) first.",
    )
    tls: TlsConfig | None = Field(None, description="TLS settings; absent means no encryption.")
    keepalive_s: int = Field(
        5,
        ge=1,
        le=600,
        description="The broker sends the will after 1.5 times this without a word from linegate. linegate itself "
        "notices a silent broker within 3 s.",
    )
    connect_timeout_s: float = Field(4.0, gt=0, le=60, description="Longest wait for the broker to answer.")
    reconnect_max_s: float = Field(
        3.0, ge=0.5, le=300, description="Longest pause between two attempts to reach the broker; they begin at 0.5 s."
    )
    reconnect_jitter: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of each pause that chance may take off, so that stations do not all come back at once.",
    )

    @model_validator(mode="after")
    def _user(self) -> "BrokerConfig":
        if self.password_file is not None and self.username is None:
            raise ValueError("password_file needs a username")
        return self


def read_password(path: Path) -> str:
    """The password in a file, without its line end. Raises ConfigError."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if directory and len(path.parts) == 1 and what_is(Path(directory) / path) == "file":
        path = Path(directory) / path
    try:
        return read_file(path, _MAX_PASSWORD).decode().rstrip("\r\n")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", key="mqtt.password_file") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text; write the password as such", key="mqtt.password_file") from error
