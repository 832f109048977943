"""What systemd is told about this process, by the datagram protocol of sd_notify(3)."""

import socket
from collections.abc import Mapping

from inspection import clock
from inspection.errors import ConfigError

_MOST_DIGITS = 20  # of an unsigned 64-bit number


class Notifier:
    """Talks to the service manager, or to nobody when the daemon was started by hand.

    No method blocks or raises: a manager that does not listen must not stop the line. Each answers whether
    the message was handed over.
    """

    def __init__(self, address: str = "", watchdog_s: float = 0.0) -> None:
        """Address: a socket's path, `@name` for an abstract socket, or empty for nobody.

        `watchdog_s` is the longest silence in seconds that the manager accepts; 0 where there is no watchdog.
        """
        if address and address[0] not in "/@":
            raise ConfigError(f"NOTIFY_SOCKET={address}: expected a path or an @abstract name")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_s = watchdog_s
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], pid: int) -> "Notifier":
        """Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID; another `pid`'s watchdog is not ours."""
        usec = environment.get("WATCHDOG_USEC", "0")
        ours = environment.get("WATCHDOG_PID", str(pid)) == str(pid)
        if not usec.isascii() or not usec.isdigit() or len(usec) > _MOST_DIGITS:
            raise ConfigError(f"WATCHDOG_USEC={usec}: expected a whole number of microseconds")
        return cls(environment.get("NOTIFY_SOCKET", ""), int(usec) / 1e6 if ours else 0.0)

    def ready(self, status: str) -> bool:
        """Say that the daemon serves: systemd then counts the start, or the reload, as done."""
        return self._say("READY=1", f"STATUS={_line(status)}")

    def status(self, status: str) -> bool:
        """One line for `systemctl status`."""
        return self._say(f"STATUS={_line(status)}")

    def watchdog(self) -> bool:
        """Say that work has moved on since the last call. Call it on progress, never from a timer alone."""
        return self._say("WATCHDOG=1")

    def reloading(self) -> bool:
        """Say that the configuration is being read again; `ready` ends it."""
        return self._say("RELOADING=1", f"MONOTONIC_USEC={int(clock.monotonic() * 1e6)}")

    def stopping(self, status: str) -> bool:
        return self._say("STOPPING=1", f"STATUS={_line(status)}")

    def close(self) -> None:
        self._socket.close()

    def _say(self, *assignments: str) -> bool:
        if not self._address:
            return False
        try:
            self._socket.sendto("\n".join(assignments).encode(), self._address)
        except OSError:
            return False
        return True


def _line(status: str) -> str:
    # A line break would start an assignment of the status text's own making.
    return " ".join(status.split())
