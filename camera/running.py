"""One child process of a camera, from its start to its end, as the event loop sees it."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from camera.child import CLOSE_PATIENCE_S, Setup, main
from camera.messages import Make, ToChild, ToParent, Wanted, receive, send
from camera.ring import FEWEST, Ring
from inspection import spawn

FRAME_SLOTS = 64
CROP_SLOTS = 64  # for two recipes, while one model takes another's place, 32 pictures
CROP_BYTES = 64 << 20  # the most that a recipe may give; what a picture's crops do not use costs nothing

_MESSAGES_A_TURN = 32
_KILL_PATIENCE_S = 2.0


class Running:
    """The child, its socket and its two rings: whole frames for the page and the archive, crops for the model."""

    def __init__(
        self, make_setup: Callable[[socket.socket, Ring, Ring], Setup], *, frame_bytes: int, recall_bytes: int
    ) -> None:
        """Starts the process: a few milliseconds. Raises OSError when the machine is out of processes or files.

        A frame takes at most `frame_bytes`; the last of them stay readable while they fit into `recall_bytes`.
        """
        with ExitStack() as undo:
            slots = FRAME_SLOTS if recall_bytes else FEWEST
            self.frames = Ring.create(slots, frame_bytes, recall_bytes)
            undo.callback(self.frames.close)
            self.crops = Ring.create(CROP_SLOTS, CROP_BYTES)
            undo.callback(self.crops.close)
            self._sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            undo.callback(self._sock.close)
            self._sock.setblocking(False)
            with theirs:
                setup = make_setup(theirs, self.frames, self.crops)
                self._process = spawn.start(main, setup, name=f"camera {setup.name}")
            undo.pop_all()
        self.pid = self._process.pid

    def ask(self, message: ToChild) -> None:
        """Raises BlockingIOError when the child does not read, OSError when it is gone."""
        send(self._sock, message)

    @contextmanager
    def reading(self, heed: Callable[[ToParent], None], gone: Callable[[], None]) -> Iterator[None]:
        """Meanwhile `heed` gets every message, and `gone` is called once the child's end is closed."""
        loop = asyncio.get_running_loop()

        def readable() -> None:
            for _ in range(_MESSAGES_A_TURN):
                try:
                    message = receive(self._sock)
                except BlockingIOError:
                    return
                except (OSError, ValueError):
                    message = None
                if message is None or isinstance(message, Wanted | Make):
                    loop.remove_reader(self._sock)
                    gone()
                    return
                heed(message)

        loop.add_reader(self._sock, readable)
        try:
            yield
        finally:
            loop.remove_reader(self._sock)

    async def close(self) -> str:
        """Kill the child if it still runs, free everything; how it ended, for people. A cancellation waits for it."""
        return await spawn.to_the_end(self._end())

    async def release(self) -> str:
        """As `close`, but the camera has a moment to give its device back: one that is killed may stay taken."""
        return await spawn.to_the_end(self._leave())

    async def _leave(self) -> str:
        try:
            with suppress(OSError):
                self._sock.shutdown(socket.SHUT_WR)
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_PATIENCE_S):
                    await _readable(self._process.sentinel)
        finally:
            how = await self._end()
        return how

    async def _end(self) -> str:
        self._process.kill()
        try:
            # A driver stuck in the kernel can outlive SIGKILL for a while: the line does not wait for it.
            with suppress(TimeoutError):
                async with asyncio.timeout(_KILL_PATIENCE_S):
                    await _readable(self._process.sentinel)
        finally:
            self._sock.close()
            self.frames.close()
            self.crops.close()
        self._process.join(0.01)
        code = self._process.exitcode
        if code is None:
            return "still in the kernel"
        self._process.close()
        return f"signal {-code}" if code < 0 else f"exit code {code}"


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    loop.add_reader(fd, event.set)
    try:
        await event.wait()
    finally:
        loop.remove_reader(fd)
