"""What the signals of the operating system ask of the daemon."""

import asyncio
import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager

_LOOK_S = 0.05
_LOOKS = 20


@contextmanager
def heeded(stop: asyncio.Event, reload: asyncio.Event | None) -> Iterator[None]:
    """Meanwhile SIGTERM and SIGINT set `stop`, and so does SIGHUP where the terminal was closed.

    Any other SIGHUP sets `reload`, or `stop` where that is None. A process that was started by nohup outlives its
    terminal. The signals keep their handlers afterwards: a second Ctrl-C must not break into an end in good order.
    """
    loop = asyncio.get_running_loop()
    nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    terminal = None if nohup else _terminal()
    deciding: set[asyncio.Task[None]] = set()

    async def decide() -> None:
        if terminal is not None and await _closed(terminal):
            stop.set()
        else:
            (reload or stop).set()

    def hung_up() -> None:
        task = asyncio.create_task(decide(), name="hang-up")
        deciding.add(task)
        task.add_done_callback(deciding.discard)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if reload is not None or not nohup:
        loop.add_signal_handler(signal.SIGHUP, hung_up)
    try:
        yield
    finally:
        for task in deciding:
            task.cancel()
        if terminal is not None:
            os.close(terminal)


async def _closed(terminal: int) -> bool:
    """Whether it is closed, now or within a second: where a shell ends, its jobs hear of it a moment before that."""
    for _ in range(_LOOKS):
        if _hung_up(terminal):
            return True
        await asyncio.sleep(_LOOK_S)
    return False


def _hung_up(terminal: int) -> bool:
    poll = select.poll()
    poll.register(terminal, 0)  # a hang-up is reported without being asked for
    return any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0))


def _terminal() -> int | None:
    """The terminal from which this process is controlled, to be looked at only; None without one, as in a service."""
    try:
        return os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
