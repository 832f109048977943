"""What linegate tells on standard error: one line an event, safe to read in a terminal, without secrets."""

import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from daemon.scribe import Scribe
from inspection import clock

T = TypeVar("T")

# user:password@ in any URL; cameras and brokers are named by URLs that carry both.
_CREDENTIALS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)[^/\s@]+@", re.IGNORECASE)
_STDERR = 2
_RESERVED = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def redact(text: str) -> str:
    """The text without credentials in URLs."""
    return _CREDENTIALS.sub(r"\g<scheme>***@", text)


def printable(text: str) -> str:
    r"""The text with control characters as \xNN, so that a camera's or a client's words cannot forge a line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class HumanFormatter(logging.Formatter):
    """`2026-12-01T12:00:00.123+01:00 INFO    station: text`; a traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        text = printable(redact(record.getMessage()))
        line = f"{clock.iso(record.created)} {record.levelname:<7} {record.name}: {text}"
        if record.exc_info:
            line += "\n" + redact(self.formatException(record.exc_info))
        return line


class JsonFormatter(logging.Formatter):
    """One object a line: t, time, level, logger, message, error, and the call's `extra` fields.

    `t` is in seconds since 1970 UTC; `time` says the same in the zone of the machine, with its offset.
    """

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, Any] = {
            "t": round(record.created, 3),
            "time": clock.iso(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        told |= {key: value for key, value in vars(record).items() if key not in _RESERVED}
        if record.exc_info:
            told["error"] = redact(self.formatException(record.exc_info))
        return json.dumps(told, default=str)


def set_up(level: str, form: str) -> None:
    """Send everything that is told to standard error in the wanted form; may be called again when it changes."""
    root = logging.getLogger()
    scribe = next((handler for handler in root.handlers if isinstance(handler, Scribe)), None) or Scribe(_STDERR)
    scribe.setFormatter(JsonFormatter() if form == "json" else HumanFormatter())
    root.handlers[:] = [scribe]
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # that the page is served, we say ourselves


@dataclass(frozen=True, slots=True)
class Telling(Generic[T]):
    """Calls `call` with the log set up: a spawned child has inherited no handlers. Picklable if `call` is."""

    level: str
    form: str
    call: Callable[[], T]

    def __call__(self) -> T:
        set_up(self.level, self.form)
        return self.call()
