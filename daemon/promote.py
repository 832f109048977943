"""One model takes another's place between two parts, or leaves it alone.

docs/adr tells why it is done this way. The new model is made beside the old one and proven there; until `_swap` nothing
of the old one has changed, and after it nothing can fail.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from daemon.assemble import Daemon
from daemon.checks import fitting, golden_gate, public_key, thresholds
from daemon.choice import Choice, Named, Shelf, named
from daemon.config import Config
from daemon.ledger import Ledger
from daemon.model import Model, recipe_key
from inspection.errors import BundleError, CameraError, ConfigError, ModelRefused, NotScored, PictureError
from inspection.frame import CropPixels, Frame
from vision.bundle import Bundle, Thresholds, load_bundle
from vision.golden import misjudged, refusal, succession
from vision.priority import Pace, may_step_forward
from vision.signature import PublicKey

LOG = logging.getLogger(__name__)

Start = Callable[[str, Coroutine[Any, Any, None]], "asyncio.Task[None]"]
Tell = Callable[[str], None]
Find = Callable[[PublicKey | None], Bundle]
"""Reads a bundle that is signed with the key, where there is one."""


@dataclass(frozen=True, slots=True)
class Promoted:
    """What is live now, and what was before. Model ids."""

    model: str
    before: str


@dataclass(frozen=True, slots=True)
class _Checked:
    """A bundle on the shelf, the thresholds that it will judge by, the choice that it would be, its golden parts."""

    bundle: Bundle
    rules: Thresholds
    choice: Choice
    golden: CropPixels


class Promoter:
    """Replaces the live model. One at a time."""

    def __init__(self, daemon: Daemon, start: Start) -> None:
        self._daemon = daemon
        self._start = start
        self._shelf = Shelf(daemon.config.state_dir)
        self._choice = daemon.origin.choice
        self._settings = daemon.config
        self._golden = daemon.models.live.bundle.golden_crops()  # whatever becomes of its folder
        self._running: dict[Model, list[asyncio.Task[None]]] = {}
        self._candidate: Named | None = None
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
        async with self._alone(f"the promotion of {path}"):
            return await self._replaced(lambda key: load_bundle(path, key), path, tell, succeeds=True)

    async def rollback(self, tell: Tell) -> Promoted:
        """Go back to the model before the last change; twice leads back again. Raises ModelRefused."""
        async with self._alone("the rollback"):
            before = self._choice.before
            if before is None:
                raise ModelRefused("there is no model to go back to: none was promoted yet")
            find = partial(self._shelf.take, before)
            return await self._replaced(find, before.source, tell, succeeds=False)

    async def shadow(self, path: Path, tell: Tell) -> str:
        """Let the bundle at `path` score what is judged, without a say; its model id. Raises ModelRefused."""
        async with self._alone(f"the start of {path} in the shadow"):
            live = self._daemon.models.live
            tell("checking the bundle")
            checked = await asyncio.to_thread(self._checked, lambda key: load_bundle(path, key), path)
            if checked.bundle.hash == live.hash:
                raise ModelRefused(f"{checked.bundle.model_id} is live: it would only agree with itself")
            if recipe_key(checked.bundle.recipe) != live.recipe:
                raise ModelRefused("its recipe is not that of the live model, so that it would need crops of its own")
            await self._end_shadow()
            self._candidate = checked.choice.live
            tell(f"starting the worker of {checked.bundle.model_id}, with the time that the line leaves")
            candidate = await self._proven(checked, Pace.IDLE)
            self._daemon.shadow.begin(candidate)
            return candidate.bundle.model_id

    async def shadow_off(self) -> None:
        """Let nothing score in the shadow. Raises ModelRefused."""
        async with self._alone("the end of the shadow"):
            await self._end_shadow()

    @asynccontextmanager
    async def _alone(self, what: str) -> AsyncIterator[None]:
        if self._busy:
            raise ModelRefused(f"{self._busy} is under way; ask again when it has ended")
        self._busy = what
        try:
            yield
        except (BundleError, CameraError, ConfigError) as error:
            raise ModelRefused(str(error)) from error
        finally:
            if self._daemon.shadow.candidate is None:
                self._candidate = None
            named = (self._choice.live, self._choice.before, self._candidate)
            await asyncio.to_thread(self._shelf.forget_others, *named)  # also what was refused
            self._busy = ""

    async def _replaced(self, find: Find, source: Path, tell: Tell, *, succeeds: bool) -> Promoted:
        """`succeeds`: the live model's golden parts have a say. The way back to what was live before needs no leave."""
        old = self._daemon.models.live
        tell("checking the bundle")
        checked = await asyncio.to_thread(self._checked, find, source)
        choice, model = checked.choice, checked.bundle.model_id
        if checked.bundle.hash == old.hash:
            tell(f"{model} is live already: nothing was changed")
            return Promoted(model, model)
        if choice.before is None:
            tell(f"there will be no way back to {old.bundle.model_id}: its folder was changed")
        tell(f"starting the worker of {model} beside that of {old.bundle.model_id}")
        new = await self._proven(checked, Pace.MODEST if may_step_forward() else Pace.FULL)
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self._end, new)
            if succeeds:
                await self._succeeds(new, old, tell)
            if new.recipe != old.recipe:
                tell("the cameras make the crops of both recipes")
                undo.push_async_callback(self._make_alone, old)
                await self._make(old, new)
            await asyncio.to_thread(self._shelf.choose, choice)
            await self._still_ready(new)
            undo.pop_all()
        opened = self._swap(new, checked)
        tell(f"{model} judges every part from now on")
        await asyncio.gather(*(ledger.closed_until(number) for ledger, number in opened.items()))
        if new.recipe != old.recipe:
            await self._make_alone(new)
        await self._end(old)
        await self._end_shadow()  # what it was compared with is gone
        return Promoted(model, old.bundle.model_id)

    def _checked(self, find: Find, source: Path) -> _Checked:
        """Reads some 100 MB: in a thread. What it leaves on disk changes nothing yet."""
        config, choice, old = self._settings, self._choice, self._daemon.models.live
        found = fitting(config, find(public_key(config)))
        configured = self._configured()
        rules = thresholds(config, found) if found.hash == configured.hash else found.thresholds
        golden_gate(found, rules)
        bundle = self._shelf.keep(found)
        before: Named | None = choice.live
        try:
            self._shelf.keep(old.bundle)
        except BundleError as error:
            LOG.warning("there will be no way back: %s", error)
            before = None
        choice = Choice(configured=configured, live=named(bundle, source), before=before)
        return _Checked(bundle, rules, choice, bundle.golden_crops())

    def _configured(self) -> Named:
        """What the configuration names now: its folder may have been written to."""
        path = self._daemon.config.model.bundle
        try:
            return named(load_bundle(path), path)
        except BundleError:
            return self._choice.configured

    async def _proven(self, checked: _Checked, pace: Pace) -> Model:
        """A model that runs, whose worker has passed the golden parts, and whose recipe suits the cameras."""
        daemon, bundle = self._daemon, checked.bundle
        model = daemon.make_model(daemon.config, bundle, checked.rules, daemon.metrics, pace=pace)
        self._run(model)
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self._end, model)
            await _started(model)
            for unit in daemon.units:
                for name, camera in unit.cameras.items():
                    await asyncio.to_thread(_suits, bundle, f"{unit.name}/{name}", camera.picture())
            undo.pop_all()
        return model

    async def _succeeds(self, new: Model, old: Model, tell: Tell) -> None:
        """That `new` judges the golden parts of `old` as expected, but for a few. Raises ModelRefused."""
        if new.recipe != old.recipe:
            tell("its recipe differs: the live model's golden parts are crops of another kind, and have no say")
            return
        try:
            scores = await new.scores_of(self._golden)
        except NotScored as error:
            raise ModelRefused(f"the live model's golden parts could not be scored: {error}; try again") from error
        why = succession(old.bundle, new.thresholds, scores)
        if why:
            raise ModelRefused(why)

    async def _still_ready(self, new: Model) -> None:
        """It may have been killed while its choice was written."""
        if not new.worker.ready.is_set():
            await asyncio.to_thread(self._shelf.choose, self._choice)
            raise ModelRefused(f"its worker was lost: {new.worker.failure}")

    async def _make(self, *models: Model) -> None:
        recipes = {model.recipe: model.bundle.recipe.model_dump_json() for model in models}
        cameras = (camera for unit in self._daemon.units for camera in unit.cameras.values())
        await asyncio.gather(*(camera.make(recipes) for camera in cameras))

    async def _make_alone(self, model: Model) -> None:
        with suppress(CameraError):  # then it makes crops that nobody wants, until its process ends
            await self._make(model)

    def _swap(self, new: Model, checked: _Checked) -> dict[Ledger, int]:
        """Nothing is awaited here: no part is opened in between. Answers each account's last part before it."""
        self._daemon.models.swap(new)
        self._choice = checked.choice
        self._golden = checked.golden
        self.swapped.set()
        LOG.info("model %s of %s is live", new.bundle.model_id, self._choice.live.source)
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
                scores = await model.scores_of(self._golden)
            except NotScored as error:
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

    async def _end_shadow(self) -> None:
        candidate = self._daemon.shadow.end()
        if candidate is not None:
            await self._end(candidate)

    async def _end(self, model: Model) -> None:
        tasks = self._running.pop(model)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _started(model: Model) -> None:
    await model.worker.settled.wait()
    if not model.worker.ready.is_set():
        raise ModelRefused(f"its worker did not start: {model.worker.failure}")


def _suits(bundle: Bundle, camera: str, frame: Frame | None) -> None:
    """That the recipe can make crops of what the camera has shown last. Raises ModelRefused."""
    if frame is None:
        return
    try:
        bundle.recipe.crops(frame.pixels, frame.bit_depth)
    except PictureError as error:
        raise ModelRefused(f"its recipe does not suit camera {camera}: {error}") from error
