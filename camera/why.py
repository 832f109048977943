"""Why a source does not open, as far as can be seen from outside: OpenCV itself gives no reason."""

import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
_ASK_S = 2.0
LONGEST_S = 2 * _ASK_S
_ANSWER_BYTES = 256


def no_device(node: Path) -> str:
    """A V4L2 device."""
    if not node.exists():
        return "there is no such device; `linegate cameras` lists those there are"
    if not os.access(node, os.R_OK | os.W_OK):
        return "no permission; put the user into the group video"
    return "it is no camera, or another program has it"


def no_stream(url: str, *, login: bool) -> str:
    """A stream; `login` tells whether a user and password were given. Takes up to LONGEST_S."""
    address = urlsplit(url)
    scheme = address.scheme.lower()
    if scheme == "udp":
        return "does anything send to that address?"
    host, port = address.hostname or "", address.port or _PORTS.get(scheme, 0)
    try:
        with socket.create_connection((host, port), timeout=_ASK_S) as connection:
            status = _describe(connection, host, port, address.path) if scheme == "rtsp" else ""
    except OSError as error:
        return f"{host}:{port}: {error.strerror or error}; is the camera on and connected, and is the address right?"
    return f"{host}:{port} {_meaning(status, login=login)}"


def _describe(connection: socket.socket, host: str, port: int, path: str) -> str:
    """The status of an RTSP server's answer to a plain question for the stream, such as 404; empty for none."""
    question = f"DESCRIBE rtsp://{host}:{port}{path} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n"
    try:
        connection.sendall(question.encode())
        answer = connection.recv(_ANSWER_BYTES).decode("ascii", "replace").split()
    except OSError:
        return ""
    return answer[1] if len(answer) > 1 and answer[0].startswith("RTSP/") else ""


def _meaning(status: str, *, login: bool) -> str:
    match status:
        case "401" | "403":
            return "refuses the user and password" if login else "wants a user and password; give a password_file"
        case "404":
            return "has no stream of this path"
        case "200":
            return "has the stream, but no picture of it can be read; try another codec in the camera"
        case "":
            return "takes the connection, but gives no stream; check protocol, port and path"
        case _:
            return f"answers {status}; check the path"
