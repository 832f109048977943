"""What may be asked of a running daemon, by name, from its own machine or over MQTT."""

import asyncio
import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from daemon.control import Command, Tell
from daemon.drift import Drift
from daemon.promote import Promoter
from daemon.shadow import Shadow
from daemon.telemetry.metrics import Metrics
from inspection.errors import ModelRefused

LOG = logging.getLogger(__name__)


class Orders:
    """Does what is asked, and counts how each command ended: done, refused, or failed by a fault of ours."""

    def __init__(
        self, promoter: Promoter, shadow: Shadow, drift: Drift, stations: Collection[str], metrics: Metrics
    ) -> None:
        self._promoter = promoter
        self._shadow = shadow
        self._drift = drift
        self._stations = stations
        self._metrics = metrics
        self._commands: Mapping[str, Command] = {
            "promote": self._promote,
            "rollback": self._rollback,
            "shadow": self._begin_shadow,
            "shadow_off": self._end_shadow,
            "shadow_counts": self._shadow_counts,
            "relearn": self._relearn,
            "unlearn": self._unlearn,
        }
        metrics.expect_commands(self._commands)
        self.commands: Mapping[str, Command] = {name: partial(self._obey, name) for name in self._commands}
        """Those of the control socket."""

    async def from_library(self, name: str, library: Path, bundle: str | None, tell: Tell) -> Mapping[str, Any]:
        """Obey a command that can name only a bundle right in the folder `library`. Raises ModelRefused."""
        with self._counted(name):
            wish = {} if bundle is None else {"bundle": str(_found(library, bundle))}
            return await self._commands[name](wish, tell)

    async def _obey(self, name: str, wish: Mapping[str, Any], tell: Tell) -> Mapping[str, Any]:
        with self._counted(name):
            return await self._commands[name](wish, tell)

    @contextmanager
    def _counted(self, name: str) -> Iterator[None]:
        """One that is cancelled, since the daemon ends, is not counted."""
        try:
            yield
        except ModelRefused:
            self._metrics.asked(name, "refused")
            raise
        except Exception as error:  # the outermost frame of every command: a fault of ours must not cost the line
            self._metrics.asked(name, "failed")
            LOG.exception("%s failed", name)
            raise ModelRefused("an internal error; the daemon's log has it") from error
        self._metrics.asked(name, "done")

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


def _found(library: Path, name: str) -> Path:
    """A folder right in the library, and no link that leads out of it."""
    nothing = f"{name}: no such bundle in model.library"
    try:
        library = library.resolve()
        path = library / name
        if path.resolve().parent != library or not path.is_dir():
            raise ModelRefused(nothing)
    except (OSError, RuntimeError) as error:  # it may not be read, or is a link to itself
        raise ModelRefused(nothing) from error
    return path
