"""TLS to the broker."""

import ssl
from contextlib import ExitStack
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator

from inspection.errors import ConfigError


class TlsConfig(BaseModel):
    """TLS 1.2 or later to the broker. Without `ca` the system's authorities count."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    ca: Path | None = Field(None, description="PEM file of the authority that signed the broker's certificate.")
    cert: Path | None = Field(None, description="PEM file of the client certificate; needs `key`.")
    key: Path | None = Field(None, description="PEM file of the client certificate's private key.")

    @model_validator(mode="after")
    def _pair(self) -> "TlsConfig":
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key come together")
        return self


class _Socket(ssl.SSLSocket):
    """Closes itself when the handshake fails: paho forgets it then without closing it."""

    def do_handshake(self, block: bool = False) -> None:
        with ExitStack() as undo:
            undo.callback(self.close)
            super().do_handshake(block)
            undo.pop_all()


def tls_context(tls: TlsConfig) -> ssl.SSLContext:
    """A client's context. Raises ConfigError."""
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=tls.ca)
        context.sslsocket_class = _Socket
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if tls.cert is not None and tls.key is not None:
            context.load_cert_chain(tls.cert, tls.key, password="")
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(str(error), key="mqtt.tls") from error
    return context
