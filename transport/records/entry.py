"""A record as the outbox keeps it, with the sum that tells whether it is still what was stored."""

import zlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """A record to keep: `id` is its idempotency key, `utc` when its verdict was decided (`clock.steady`)."""

    id: str
    topic: str
    body: bytes
    utc: float


@dataclass(frozen=True, slots=True)
class Row:
    """A kept record. `n` grows in the order in which records were committed; it is negative for one set aside."""

    n: int
    entry: Entry


def checksum(entry: Entry) -> int:
    """Over all that is delivered and all that decides how."""
    head = f"{entry.id}\0{entry.topic}\0{entry.utc!r}\0".encode()
    return zlib.crc32(entry.body, zlib.crc32(head))


def sound(identity: object, topic: object, body: object, utc: object, crc: object) -> Entry | None:
    """The entry of these stored values; None where a flipped bit has changed one of them, or its type."""
    if not (isinstance(identity, bytes) and isinstance(topic, bytes) and isinstance(body, bytes)):
        return None
    if not isinstance(utc, float) or not isinstance(crc, int):
        return None
    try:
        entry = Entry(identity.decode(), topic.decode(), body, utc)
    except UnicodeDecodeError:
        return None
    return entry if checksum(entry) == crc else None
