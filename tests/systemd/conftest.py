import select
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass
class Manager:
    """The service manager's end of the notification socket."""

    address: str
    socket: socket.socket

    def heard(self) -> list[str]:
        return self.socket.recv(4096).decode().split("\n")

    def drain(self) -> int:
        """Drop what waits; how many messages that were."""
        count = 0
        while select.select([self.socket], [], [], 0)[0]:
            self.heard()
            count += 1
        return count


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@linegate-{tmp_path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address.replace("@", "\0", 1))
        listener.settimeout(5)
        yield Manager(address, listener)
