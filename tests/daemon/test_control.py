"""Whoever talks to the socket in the state directory gets an answer, and nobody can talk the daemon down."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from daemon.asking import ask
from daemon.control import MAX_LINE, SOCKET, Control, Tell, near
from inspection.errors import ModelRefused


async def greet(wish: Mapping[str, Any], tell: Tell) -> Mapping[str, Any]:
    tell("looking up")
    if "name" not in wish:
        raise ModelRefused("nobody to greet")
    return {"said": f"hello {wish['name']}"}


@asynccontextmanager
async def listening(state: Path) -> AsyncIterator[None]:
    running = asyncio.create_task(Control(state, {"greet": greet}).run())
    try:
        async with asyncio.timeout(10):
            while not (state / SOCKET).exists():
                await asyncio.sleep(0.001)
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])
    assert not (state / SOCKET).exists()


async def answered(state: Path, sent: bytes) -> dict[str, Any]:
    with near(state) as address:
        reader, writer = await asyncio.open_unix_connection(address)
    writer.write(sent)
    row = await reader.readline()
    writer.close()
    with suppress(ConnectionError):  # what was too long was not read to its end
        await writer.wait_closed()
    answer: dict[str, Any] = json.loads(row)
    return answer


async def test_steps_come_before_what_came_of_it(tmp_path: Path) -> None:
    steps: list[str] = []
    async with listening(tmp_path):
        done = await asyncio.to_thread(ask, tmp_path, {"command": "greet", "name": "you"}, steps.append)
        assert (done, steps) == ({"said": "hello you"}, ["looking up"])
        with pytest.raises(ModelRefused, match="nobody to greet"):
            await asyncio.to_thread(ask, tmp_path, {"command": "greet"}, steps.append)


async def test_only_the_daemons_user_may_ask_and_a_long_path_is_no_hindrance(tmp_path: Path) -> None:
    state = tmp_path / ("long" * 30)
    state.mkdir()
    async with listening(state):
        assert (state / SOCKET).stat().st_mode & 0o777 == 0o600
        assert (await asyncio.to_thread(ask, state, {"command": "greet", "name": "x"}, print))["said"] == "hello x"


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="half"),
        pytest.param(b"[]", id="list"),
        pytest.param(b"\xff", id="bytes"),
        pytest.param(b'{"command":["greet"]}', id="type"),
        pytest.param(b'{"command":"other"}', id="other"),
        pytest.param(b"x" * (2 * MAX_LINE), id="long"),
        pytest.param(b"[" * 5000, id="deep"),
    ],
)
async def test_what_is_no_command_is_refused_and_the_next_one_is_heard(tmp_path: Path, sent: bytes) -> None:
    async with listening(tmp_path):
        assert "refused" in await answered(tmp_path, sent + b"\n")
        assert (await asyncio.to_thread(ask, tmp_path, {"command": "greet", "name": "x"}, print))["said"] == "hello x"


async def test_who_leaves_early_does_not_stop_what_was_asked(tmp_path: Path) -> None:
    done = asyncio.Event()

    async def slow(_wish: Mapping[str, Any], tell: Tell) -> Mapping[str, Any]:
        for _ in range(3):
            await asyncio.sleep(0.01)
            tell("on it")
        done.set()
        return {}

    running = asyncio.create_task(Control(tmp_path, {"slow": slow}).run())
    async with asyncio.timeout(10):
        while not (tmp_path / SOCKET).exists():
            await asyncio.sleep(0.001)
        with near(tmp_path) as address:
            _, writer = await asyncio.open_unix_connection(address)
        writer.write(b'{"command":"slow"}\n')
        await writer.drain()
        writer.close()
        await done.wait()
    running.cancel()
    await asyncio.wait([running])


def test_where_no_daemon_runs_the_asker_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="no daemon runs on"):
        ask(tmp_path, {"command": "greet"}, print)
    with pytest.raises(ModelRefused, match="no daemon runs on"):
        ask(tmp_path / "nowhere", {"command": "greet"}, print)
