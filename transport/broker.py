"""An MQTT broker for the demo and the tests, never for a line: it keeps nothing on disk and knows no users.

It is iotcore (rumqttd) in a child process. rumqttd serves each protocol version on a port of its own, and its 3.1.1
listener dies of the first MQTT 5 message with properties that it should pass on. So only its MQTT 5 listener is
used, on a private port, and a front on the public port (`transport.front`) lets MQTT 5 clients through and speaks
3.1.1 with the others.
"""

import asyncio
import socket
import subprocess
import sys
import tempfile
import threading
from types import TracebackType
from typing import Self

from transport.front import Front

_CONFIG = """
id = 0
[router]
id = 0
max_connections = 1000
max_outgoing_packet_count = 200
max_segment_size = 1048576
max_segment_count = 10
[v5.1]
name = "v5"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
[v5.1.connections]
connection_timeout_ms = 5000
max_payload_size = 262144
max_inflight_count = 100
dynamic_filters = true
"""


class EmbeddedBroker:
    """The broker as a child process; it also ends by itself when this process goes.

    `port` 0 takes a free one. Use as a context manager, or `start` and `stop`, which block for a moment.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host, self.port = host, port
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start, and return once clients can connect. Raises OSError where the port is taken."""
        child = subprocess.Popen(
            [sys.executable, "-m", "transport.broker", self.host, str(self.port)],
            stdin=subprocess.PIPE,  # the child ends when this closes
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # rumqttd prints a line for each client that leaves
            start_new_session=True,  # a terminal's Ctrl-C is for the daemon, which still has to say goodbye
        )
        self._child = child
        assert child.stdout is not None
        word, _, rest = child.stdout.readline().decode().strip().partition(" ")
        if word != "ready":
            self.stop()
            raise OSError(f"{self.host}:{self.port}: {rest or 'the broker did not start'}")
        self.port = int(rest)
        return self

    def stop(self) -> None:
        """End it and free its port."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()  # it has nothing to save
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    pipe.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _start_rumqttd() -> int:
    """Start rumqttd in threads of this process; the port of its MQTT 5 listener."""
    from iotcore import IotCoreBroker  # noqa: PLC0415 - only the child needs it

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
        config.write(_CONFIG.format(port=port))
        config.flush()
        IotCoreBroker(config_path=config.name).start()
    return port


async def _serve(host: str, port: int) -> None:
    front = Front(host, port, upstream=_start_rumqttd())
    try:
        await front.start()
    except OSError as error:
        print("error", error.strerror or error, flush=True)  # noqa: T201 - the parent reads it
        return
    parent_gone = asyncio.Event()
    loop = asyncio.get_running_loop()

    def watch() -> None:
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(parent_gone.set)

    threading.Thread(target=watch, daemon=True).start()
    print("ready", front.port, flush=True)  # noqa: T201
    await parent_gone.wait()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2])))
