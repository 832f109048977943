"""Options of the TCP socket under a connection, plain or TLS."""

import contextlib
import socket
import struct
from typing import Any


def send_at_once(raw: Any) -> None:
    """Without Nagle's algorithm."""
    if isinstance(raw, socket.socket):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def acknowledge_at_once(raw: Any) -> None:
    """Send the TCP acknowledgement now; the kernel forgets this wish, so it is repeated at each read.

    Mosquitto and rumqttd leave Nagle's algorithm on: the verdict behind a PUBACK would wait for our delayed
    acknowledgement of that PUBACK, 40 ms (seen on loopback).
    """
    if isinstance(raw, socket.socket):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def drop_on_close(raw: Any) -> None:
    """Closing drops what the kernel still holds (a reset)."""
    with contextlib.suppress(OSError):  # closed already
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
