"""What may be asked of a running daemon, by name."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from daemon.control import Command, Tell
from daemon.drift import Drift
from daemon.promote import Promoter
from daemon.shadow import Shadow
from inspection.errors import ModelRefused


class Orders:
    """The commands of the control socket."""

    def __init__(self, promoter: Promoter, shadow: Shadow, drift: Drift, stations: Collection[str]) -> None:
        self._promoter = promoter
        self._shadow = shadow
        self._drift = drift
        self._stations = stations
        self.commands: Mapping[str, Command] = {
            "promote": self._promote,
            "rollback": self._rollback,
            "shadow": self._begin_shadow,
            "shadow_off": self._end_shadow,
            "shadow_counts": self._shadow_counts,
            "relearn": self._relearn,
            "unlearn": self._unlearn,
        }

    async def _promote(self, wish: Mapping[str, Any], tell: Tell) -> Mapping[str, Any]:
        return asdict(await self._promoter.promote(_bundle(wish), tell))

    async def _rollback(self, _wish: Mapping[str, Any], tell: Tell) -> Mapping[str, Any]:
        return asdict(await self._promoter.rollback(tell))

    async def _begin_shadow(self, wish: Mapping[str, Any], tell: Tell) -> Mapping[str, Any]:
        return {"candidate": await self._promoter.shadow(_bundle(wish), tell)}

    async def _end_shadow(self, _wish: Mapping[str, Any], _tell: Tell) -> Mapping[str, Any]:
        await self._promoter.shadow_off()
        return {"candidate": ""}

    async def _shadow_counts(self, _wish: Mapping[str, Any], _tell: Tell) -> Mapping[str, Any]:
        candidate = self._shadow.candidate
        await asyncio.to_thread(self._shadow.journal.flush)
        return {"candidate": candidate.bundle.model_id if candidate else "", "counts": self._shadow.counts}

    async def _relearn(self, wish: Mapping[str, Any], _tell: Tell) -> Mapping[str, Any]:
        await self._drift.relearn(self._station(wish))
        return {"drift": "learns its references from its next 300 pictures and scores"}

    async def _unlearn(self, wish: Mapping[str, Any], _tell: Tell) -> Mapping[str, Any]:
        await self._drift.unlearn(self._station(wish))
        return {"drift": "is compared with the bundle's references, or learns where there are none"}

    def _station(self, wish: Mapping[str, Any]) -> str:
        given = wish.get("station")
        if not isinstance(given, str) or given not in self._stations:
            raise ModelRefused(f"there is no such station; there are: {', '.join(self._stations)}")
        return given


def _bundle(wish: Mapping[str, Any]) -> Path:
    given = wish.get("bundle")
    if not isinstance(given, str) or not Path(given).is_absolute():
        raise ModelRefused("`bundle` must be the absolute path of a folder")
    return Path(given)
