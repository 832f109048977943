"""What may be asked of a running daemon, by name."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from daemon.control import Command, Tell
from daemon.promote import Promoter
from inspection.errors import ModelRefused


class Orders:
    """The commands of the control socket."""

    def __init__(self, promoter: Promoter) -> None:
        self._promoter = promoter
        self.commands: Mapping[str, Command] = {"promote": self._promote, "rollback": self._rollback}

    async def _promote(self, wish: Mapping[str, Any], tell: Tell) -> Mapping[str, Any]:
        return asdict(await self._promoter.promote(_bundle(wish), tell))

    async def _rollback(self, _wish: Mapping[str, Any], tell: Tell) -> Mapping[str, Any]:
        return asdict(await self._promoter.rollback(tell))


def _bundle(wish: Mapping[str, Any]) -> Path:
    given = wish.get("bundle")
    if not isinstance(given, str) or not Path(given).is_absolute():
        raise ModelRefused("`bundle` must be the absolute path of a folder")
    return Path(given)
