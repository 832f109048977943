"""The daemon's ear on its own machine: a socket in the state directory, one command a connection.

A command is one line of JSON; the answer is lines of JSON until one has `done` or `refused`. Whoever may write into
the state directory's socket (its user and root) may command.
"""

import asyncio
import json
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from inspection.errors import ModelRefused
from inspection.repeats import RepeatedTrouble

LOG = logging.getLogger(__name__)

SOCKET = "control"
MAX_LINE = 8192
_PATIENCE_S = 5.0
_PAUSE_S = 5.0
_MOST_AT_ONCE = 16
_CREDENTIALS = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid

Tell = Callable[[str], None]
Command = Callable[[Mapping[str, Any], Tell], Awaitable[Mapping[str, Any]]]
"""Does what was asked and answers what came of it. Raises ModelRefused."""


@contextmanager
def near(state_dir: Path) -> Iterator[str]:
    """The socket's address. A path to a socket has at most 107 bytes; this one is short whatever the folder."""
    handle = os.open(state_dir, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{handle}/{SOCKET}"
    finally:
        os.close(handle)


class Control:
    """Listens while it runs. The caller holds the state directory."""

    def __init__(self, state_dir: Path, commands: Mapping[str, Command]) -> None:
        self._state_dir = state_dir
        self._commands = commands
        self._talks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until cancelled; then commands under way are cancelled too. A full disk costs commands, not the line."""
        trouble = RepeatedTrouble(LOG, f"{self._state_dir / SOCKET} takes no commands")
        while True:
            try:
                await self._listen()
            except OSError as error:
                trouble.occurred(error.strerror or str(error))
            await asyncio.sleep(_PAUSE_S)

    async def _listen(self) -> None:
        with self._listening() as listener:
            server = await asyncio.start_unix_server(self._welcome, sock=listener, limit=MAX_LINE)
            try:
                await asyncio.Event().wait()
            finally:
                server.close()
                for talk in self._talks:
                    talk.cancel()
                if self._talks:
                    await asyncio.wait(self._talks)

    @contextmanager
    def _listening(self) -> Iterator[socket.socket]:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        file = self._state_dir / SOCKET
        with listener:
            file.unlink(missing_ok=True)  # of a daemon that was killed
            with near(self._state_dir) as address:
                listener.bind(address)
            file.chmod(0o600)  # nobody can connect before it listens
            try:
                yield listener
            finally:
                file.unlink(missing_ok=True)

    def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._talks) >= _MOST_AT_ONCE:
            writer.close()
            return
        talk = asyncio.create_task(self._talk(reader, writer), name="command")
        self._talks.add(talk)
        talk.add_done_callback(self._talks.discard)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say(**fields: Any) -> None:
            if not writer.is_closing():  # who asked may have left; what was asked is done all the same
                writer.write(json.dumps(fields).encode() + b"\n")

        try:
            name, wish = await self._heard(reader)
            LOG.info("asked for %s by user %d", name, _user(writer))
            done = await self._commands[name](wish, lambda step: say(step=step))
            say(done=dict(done))
        except ModelRefused as refused:
            LOG.warning("refused: %s", refused)
            say(refused=str(refused))
        except (TimeoutError, ConnectionError):
            LOG.info("a command did not come")
        finally:
            with suppress(ConnectionError):
                writer.close()
                await writer.wait_closed()

    async def _heard(self, reader: asyncio.StreamReader) -> tuple[str, Mapping[str, Any]]:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                line = await reader.readline()
            wish = json.loads(line)
        except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, nested too deep, or too long a line
            raise ModelRefused("the command was not understood") from error
        name = wish.get("command") if isinstance(wish, dict) else None
        if not isinstance(name, str) or name not in self._commands:
            raise ModelRefused(f"there is no such command; there are: {', '.join(self._commands)}")
        return name, wish


def _user(writer: asyncio.StreamWriter) -> int:
    peer = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(peer)[1])
