"""The main loop: the path of one part, top to bottom."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from daemon.ledger import Ledger
from daemon.tally import Tally
from inspection import clock
from inspection.errors import NoImage, NotScored, StoreError
from inspection.frame import CropPixels, Crops, Missed
from inspection.part import Part, Trigger
from inspection.probe import Probe
from inspection.record import FrameFacts, Record, record_id
from inspection.verdict import Outcome, Reason, Verdict
from vision.bundle import Thresholds
from vision.classifier import Scored
from vision.judge import judge

LOG = logging.getLogger(__name__)


class Model(Protocol):
    """Who scores: a part belongs to one model, from its opening to its verdict."""

    hash: str
    recipe: str
    thresholds: Thresholds

    async def score(self, crops: CropPixels, deadline: float) -> Scored: ...


class Shooter(Protocol):
    """A camera, as the station sees it."""

    async def shoot(self, deadline: float) -> Crops: ...


class Teller(Protocol):
    """Who carries the live verdict to the PLC; False when it was too late or nobody could be told."""

    def say(self, verdict: Verdict) -> bool: ...


class Keeper(Protocol):
    """Who keeps the records: `keep` soon, `kept` before it returns (or StoreError)."""

    def keep(self, record: Record) -> None: ...
    async def kept(self, record: Record) -> None: ...


class Onlooker(Protocol):
    """Who may see what was judged, after everybody who waited for it. Returns at once."""

    def judged(self, verdict: Verdict, captures: Sequence[Crops | Missed]) -> None: ...


@dataclass(slots=True)
class Inspection:
    """What is known of one part on its way."""

    part: Part
    model: Model
    captures: tuple[Crops | Missed, ...] = ()
    scored: Scored | None = None
    stages: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StationSettings:
    """`window` is seconds from a free-running capture to its deadline. `config_hash` goes into every record."""

    name: str
    session: str
    window: float
    require_record: bool
    config_hash: str


class Station:
    """One inspection point. It has two entrances, `trigger` and `captured`; every part leaves by `_tell`."""

    def __init__(
        self,
        settings: StationSettings,
        *,
        ledger: Ledger,
        cameras: Sequence[Shooter],
        live: Callable[[], Model],
        teller: Teller,
        keeper: Keeper,
        tally: Tally,
        onlookers: Sequence[Onlooker],
        probe: Probe,
    ) -> None:
        self.settings = settings
        self.ledger = ledger
        self.tally = tally
        self._cameras = cameras
        self._live = live
        self._teller = teller
        self._keeper = keeper
        self._onlookers = onlookers
        self._probe = probe
        self._running: set[asyncio.Task[None]] = set()
        self._closing = False

    def trigger(self, trigger: Trigger) -> None:
        """A PLC asked for a part: every camera of the station takes a picture of it."""
        self._admit(trigger.deadline, trigger, ())

    def captured(self, capture: Crops | Missed) -> None:
        """A free-running camera gave a picture, or tells of one that it lost: either is a part."""
        self._admit(capture.captured + self.settings.window, None, (capture,))

    def _admit(self, deadline: float, trigger: Trigger | None, captures: tuple[Crops | Missed, ...]) -> None:
        refusal = Reason.SHUTDOWN if self._closing else Reason.OVERLOAD if self.ledger.full else None
        inspection = Inspection(self.ledger.open(deadline, trigger), self._live(), captures)
        if refusal is not None:
            self._tell(inspection, no_verdict(inspection.part, refusal))
            return
        task = asyncio.create_task(self._inspect(inspection), name=f"part {inspection.part.seq}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _inspect(self, inspection: Inspection) -> None:
        """One part: pictures → score → verdict → told and recorded. Whatever happens, one verdict comes out."""
        part, model = inspection.part, inspection.model
        try:
            async with asyncio.timeout_at(self.ledger.latest_answer(part)):
                inspection.captures = inspection.captures or await self._shoot(part)
                inspection.scored = await self._score(inspection)
            scores, name = inspection.scored.scores, inspection.scored.model
            verdict = judge(part, scores, model.thresholds, now=clock.monotonic(), model=name)
        except NoImage as nothing:
            verdict = no_verdict(part, nothing.missed.reason, nothing.missed.detail)
        except NotScored as unscored:
            verdict = no_verdict(part, unscored.reason, unscored.detail)
        except TimeoutError:
            verdict = no_verdict(part, Reason.DEADLINE if inspection.captures else Reason.MISSED_TRIGGER)
        except asyncio.CancelledError:
            verdict = no_verdict(part, Reason.SHUTDOWN)
        except Exception:  # the task's outermost frame: a fault of ours must not cost the part its verdict
            LOG.exception("part %s of %s could not be judged", part.id, part.station)
            verdict = no_verdict(part, Reason.WORKER_FAILED, "internal error")
        if self._committed_first(verdict):
            verdict = await self._keep_first(inspection, verdict)
        self._tell(inspection, verdict)

    async def _shoot(self, part: Part) -> tuple[Crops | Missed, ...]:
        until = self.ledger.last_moment(part)
        return tuple(await asyncio.gather(*(_shot(camera, until) for camera in self._cameras)))

    async def _score(self, inspection: Inspection) -> Scored:
        """The part's score is the maximum over its crops, so one camera without a picture leaves it open."""
        model = inspection.model
        pictures = [_crops(capture, model.recipe) for capture in inspection.captures]
        crops = pictures[0] if len(pictures) == 1 else np.concatenate(pictures)
        return await model.score(crops, self.ledger.last_moment(inspection.part))

    def _committed_first(self, verdict: Verdict) -> bool:
        """Whether the record goes to disk before the verdict goes out. No verdict waits for no disk."""
        return self.settings.require_record and verdict.outcome is not Outcome.NO_VERDICT

    async def _keep_first(self, inspection: Inspection, verdict: Verdict) -> Verdict:
        try:
            # A disk that takes longer must leave time to say so.
            async with asyncio.timeout_at(self.ledger.latest_answer(verdict.part)):
                await self._keeper.kept(self._record(inspection, verdict, said=None))
        except StoreError as error:
            return no_verdict(verdict.part, Reason.STORE_FAILED, str(error))
        except TimeoutError:
            return no_verdict(verdict.part, Reason.STORE_FAILED, "the disk took too long")
        except asyncio.CancelledError:
            return no_verdict(verdict.part, Reason.SHUTDOWN)
        return verdict

    def _tell(self, inspection: Inspection, verdict: Verdict) -> None:
        """The only way out: the PLC first, then the account, the record and the counters."""
        began = clock.monotonic()
        said = self._teller.say(verdict)
        self.ledger.close(verdict)
        self._time(inspection, began)
        if not self._committed_first(verdict):
            self._keeper.keep(self._record(inspection, verdict, said=said))
        self.tally.closed(verdict, inspection.captures, seconds=inspection.stages["total"], said=said)
        for onlooker in self._onlookers:
            onlooker.judged(verdict, inspection.captures)

    def _time(self, inspection: Inspection, publish_began: float) -> None:
        now, part, stages = clock.monotonic(), inspection.part, inspection.stages
        began = part.trigger.received if part.trigger else part.opened
        for capture in inspection.captures:
            if isinstance(capture, Crops):
                began = min(began, capture.captured)
                stages["capture"] = max(stages.get("capture", 0.0), capture.captured - began)
                stages["prepare"] = max(stages.get("prepare", 0.0), capture.ready - capture.captured)
        if inspection.scored:
            stages["queue"], stages["infer"] = inspection.scored.queued, inspection.scored.inferred
        stages["publish"], stages["total"] = now - publish_began, now - began
        for stage, seconds in stages.items():
            self._probe.stage(self.settings.name, stage, seconds)

    def _record(self, inspection: Inspection, verdict: Verdict, *, said: bool | None) -> Record:
        settings = self.settings
        return Record(
            id=record_id(settings.session, verdict.part),
            session=settings.session,
            verdict=verdict,
            frames=tuple(FrameFacts.of(capture) for capture in inspection.captures),
            utc=clock.utc(),
            said=said,
            model_hash=inspection.model.hash,
            config_hash=settings.config_hash,
            backend=inspection.scored.backend if inspection.scored else "",
            stages=inspection.stages,
        )

    async def close(self, grace: float) -> None:
        """Take no more parts, give the open ones `grace` seconds, then answer the rest with `shutdown`."""
        self._closing = True
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=grace)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)


async def _shot(camera: Shooter, deadline: float) -> Crops | Missed:
    try:
        return await camera.shoot(deadline)
    except NoImage as nothing:
        return nothing.missed


def _crops(capture: Crops | Missed, recipe: str) -> CropPixels:
    """The model's input. Raises NoImage for a picture that was lost, or of which its recipe makes nothing."""
    if isinstance(capture, Missed):
        raise NoImage(capture)
    if recipe not in capture.pixels:
        why = capture.unmade.get(recipe, "no crop of this model's recipe was made")
        number, captured, source = capture.number, capture.captured, capture.source
        raise NoImage(Missed(capture.camera, number, Reason.DECODE_ERROR, captured, why, source))
    return capture.pixels[recipe]


def no_verdict(part: Part, reason: Reason, detail: str = "") -> Verdict:
    """The part stays closed to the gate, with the reason why nobody judged it."""
    return Verdict(part, Outcome.NO_VERDICT, reason, None, clock.monotonic(), detail=detail)
