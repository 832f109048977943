"""Commands that come over MQTT, where the configuration lets them: only bundles of one folder can be named."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from daemon.assemble import Daemon, Unit
from daemon.orders import Orders
from inspection import clock
from inspection.errors import ModelRefused
from transport.message import Incoming
from transport.triggers import Bucket
from transport.wire import MAX_TRIGGER_BYTES, Command, WireError, encode_command_result, parse_command

LOG = logging.getLogger(__name__)

Start = Callable[[str, Coroutine[Any, Any, None]], "asyncio.Task[None]"]


class Distant:
    """Hears the command topics of all stations and answers each on its own result topic."""

    def __init__(self, daemon: Daemon, orders: Orders, library: Path, start: Start) -> None:
        """`library` is the folder whose bundles may be named."""
        self._daemon = daemon
        self._orders = orders
        self._library = library
        self._start = start
        self._few = Bucket(rate=1.0, burst=10)

    def listen(self) -> None:
        """Called before the links run."""
        for unit in self._daemon.units:
            unit.link.on_command = lambda message, unit=unit: self._heard(message, unit)

    def _heard(self, message: Incoming, unit: Unit) -> None:
        if not self._few.take():
            LOG.warning("%s: more commands than can be meant; this one is not answered", unit.name)
            return
        try:
            command = self._understood(message)
        except (WireError, ModelRefused) as error:
            LOG.warning("%s: command refused: %s", unit.name, error)
            self._answer(unit, None, "refused", str(error))
        else:
            LOG.info("%s: asked over MQTT for %s %s", unit.name, command.name, command.bundle or "")
            self._start("command", self._obey(command, unit))

    def _understood(self, message: Incoming) -> Command:
        if message.retained:
            raise WireError("a command must not be retained")
        if len(message.payload) > MAX_TRIGGER_BYTES:
            raise WireError(f"more than {MAX_TRIGGER_BYTES} bytes")
        command = parse_command(message.payload)
        if command.session != self._daemon.session:
            raise WireError(f"the session is {self._daemon.session}")
        return command

    async def _obey(self, command: Command, unit: Unit) -> None:
        try:
            done = await self._orders.from_library(
                command.name, self._library, command.bundle, lambda step: self._answer(unit, command, "running", step)
            )
        except ModelRefused as refused:
            LOG.warning("%s: %s refused: %s", unit.name, command.name, refused)
            self._answer(unit, command, "refused", str(refused))
        else:
            self._answer(unit, command, "done", f"{done['model']} is live; before it {done['before']} was")

    def _answer(self, unit: Unit, command: Command | None, state: str, detail: str) -> None:
        name, identity = (command.name, command.id) if command else ("", None)
        model, session = self._daemon.models.live.bundle.model_id, self._daemon.session
        body = encode_command_result(name, identity, state, detail, model, session=session, utc=clock.utc())
        unit.link.answer_command(body)
