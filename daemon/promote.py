"""One model takes another's place between two parts, or leaves it alone.

docs/adr tells why it is done this way. The new model is made beside the old one and proven there; until `_swap` nothing
of the old one has changed, and after it nothing can fail.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon.assemble import Daemon, make_model
from daemon.checks import golden_gate, thresholds, usable
from daemon.choice import Choice, Named, Shelf, named
from daemon.config import Config
from daemon.ledger import Ledger
from daemon.model import Model
from inspection.errors import BundleError, CameraError, ConfigError, ModelRefused, NotScored, PictureError
from vision.bundle import Bundle, Thresholds, load_bundle
from vision.golden import misjudged, refusal

LOG = logging.getLogger(__name__)

Start = Callable[[str, Coroutine[Any, Any, None]], "asyncio.Task[None]"]
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Promoted:
    """What is live now, and what was before. Model ids."""

    model: str
    before: str


class Promoter:
    """Replaces the live model. One at a time."""

    def __init__(self, daemon: Daemon, start: Start) -> None:
        self._daemon = daemon
        self._start = start
        self._shelf = Shelf(daemon.config.state_dir)
        self._choice = daemon.origin.choice
        self._settings = daemon.config
        self._running: dict[Model, list[asyncio.Task[None]]] = {}
        self._busy = ""
        self.swapped = asyncio.Event()
        """Set at each swap; for whoever tells of the model that is live."""

    def begin(self) -> None:
        """Start the model that the daemon begins with."""
        self._run(self._daemon.models.live)

    async def promote(self, path: Path, tell: Tell) -> Promoted:
        """Make the bundle at `path` live. Raises ModelRefused; the model before goes on then.

        `tell` hears what is being done. Returns when the last part of the old model has its verdict.
        """
        return await self._replace(f"the promotion of {path}", lambda: load_bundle(path), path, tell)

    async def rollback(self, tell: Tell) -> Promoted:
        """Go back to the model before the last change; twice leads back again. Raises ModelRefused."""
        before = self._choice.before
        if before is None:
            raise ModelRefused("there is no model to go back to: none was promoted yet")
        return await self._replace("the rollback", lambda: self._shelf.take(before), before.source, tell)

    async def _replace(self, what: str, find: Callable[[], Bundle], source: Path, tell: Tell) -> Promoted:
        if self._busy:
            raise ModelRefused(f"{self._busy} is under way; ask again when it has ended")
        self._busy = what
        try:
            return await self._replaced(find, source, tell)
        except (BundleError, CameraError, ConfigError) as error:
            raise ModelRefused(str(error)) from error
        finally:
            self._busy = ""

    async def _replaced(self, find: Callable[[], Bundle], source: Path, tell: Tell) -> Promoted:
        old = self._daemon.models.live
        tell("checking the bundle")
        bundle, rules, choice = await asyncio.to_thread(self._checked, find, source, tell)
        if bundle.hash == old.hash:
            tell(f"{bundle.model_id} is live already: nothing was changed")
            return Promoted(bundle.model_id, old.bundle.model_id)
        tell(f"starting the worker of {bundle.model_id} beside that of {old.bundle.model_id}")
        new = make_model(self._daemon.config, bundle, rules, self._daemon.metrics)
        self._run(new)
        try:
            await self._proven(new)
            if new.recipe != old.recipe:
                tell("the cameras make the crops of both recipes")
                await self._make(old, new)
            await asyncio.to_thread(self._shelf.choose, choice)
            await self._still_ready(new)
        except BaseException:
            await self._end(new)
            if new.recipe != old.recipe:
                with suppress(CameraError):  # then it makes crops that nobody wants, until its process ends
                    await self._make(old)
            raise
        opened = self._swap(new, choice)
        tell(f"{bundle.model_id} judges every part from now on")
        await asyncio.gather(*(ledger.closed_until(number) for ledger, number in opened.items()))
        if new.recipe != old.recipe:
            with suppress(CameraError):
                await self._make(new)
        await self._end(old)
        await asyncio.to_thread(self._shelf.forget_others, choice.live, choice.before)
        return Promoted(new.bundle.model_id, old.bundle.model_id)

    def _checked(self, find: Callable[[], Bundle], source: Path, tell: Tell) -> tuple[Bundle, Thresholds, Choice]:
        """Reads some 100 MB: in a thread. What it leaves on disk changes nothing yet."""
        config, choice, old = self._settings, self._choice, self._daemon.models.live
        found = find()
        if not found.golden:
            raise BundleError(f"{found.path}: holds no golden parts, so nothing can show that it judges as expected")
        bundle = self._shelf.keep(usable(config, found.path))
        configured = self._configured()
        rules = thresholds(config, bundle) if bundle.hash == configured.hash else bundle.thresholds
        golden_gate(bundle, rules)
        before: Named | None = choice.live
        try:
            self._shelf.keep(old.bundle)
        except BundleError as error:
            tell(f"there will be no way back to {old.bundle.model_id}: {error}")
            before = None
        return bundle, rules, Choice(configured=configured, live=named(bundle, source), before=before)

    def _configured(self) -> Named:
        """What the configuration names now: its folder may have been written to."""
        path = self._daemon.config.model.bundle
        try:
            return named(load_bundle(path), path)
        except BundleError:
            return self._choice.configured

    async def _proven(self, new: Model) -> None:
        """That its worker runs, has passed the golden parts, and that its recipe suits the cameras."""
        await new.worker.settled.wait()
        if not new.worker.ready.is_set():
            raise ModelRefused(f"its worker did not start: {new.worker.failure}")
        for unit in self._daemon.units:
            for name, camera in unit.cameras.items():
                frame = camera.picture()
                if frame is None:
                    continue
                try:
                    await asyncio.to_thread(new.bundle.recipe.crops, frame.pixels, frame.bit_depth)
                except PictureError as error:
                    raise ModelRefused(f"its recipe does not suit camera {unit.name}/{name}: {error}") from error

    async def _still_ready(self, new: Model) -> None:
        """It may have been killed while its choice was written."""
        if not new.worker.ready.is_set():
            await asyncio.to_thread(self._shelf.choose, self._choice)
            raise ModelRefused(f"its worker was lost: {new.worker.failure}")

    async def _make(self, *models: Model) -> None:
        makers = {model.recipe: model.bundle.recipe.crops for model in models}
        cameras = (camera for unit in self._daemon.units for camera in unit.cameras.values())
        await asyncio.gather(*(camera.make(makers) for camera in cameras))

    def _swap(self, new: Model, choice: Choice) -> dict[Ledger, int]:
        """Nothing is awaited here: no part is opened in between. Answers each account's last part before it."""
        self._daemon.models.swap(new)
        self._choice = choice
        self.swapped.set()
        LOG.info("model %s of %s is live", new.bundle.model_id, choice.live.source)
        return {unit.station.ledger: unit.station.ledger.captured for unit in self._daemon.units}

    async def retune(self, config: Config) -> Thresholds:
        """Use the thresholds of a configuration that was read again, if the golden parts come out as expected.

        Raises ConfigError; the thresholds before stay then.
        """
        model = self._daemon.models.live
        mine = model.hash == self._choice.configured.hash
        rules = thresholds(config, model.bundle) if mine else model.thresholds
        golden_gate(model.bundle, rules)
        if rules != model.thresholds and model.worker.ready.is_set():
            try:
                scores = await model.golden_scores()
            except (NotScored, BundleError) as error:
                raise ConfigError(f"model: the golden parts could not be scored: {error}; try again") from error
            wrong = misjudged(model.bundle, rules, scores)
            if wrong:
                raise ConfigError(f"model.pass_below, model.fail_above: {refusal(wrong, rules)}")
            if model is not self._daemon.models.live:
                raise ConfigError("model: another one was promoted meanwhile; try again")
        self._settings = config
        model.retune(rules)
        return rules

    def _run(self, model: Model) -> None:
        self._running[model] = [self._start("worker", model.worker.run()), self._start("batcher", model.batcher.run())]

    async def _end(self, model: Model) -> None:
        tasks = self._running.pop(model)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
