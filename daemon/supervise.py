"""Runs an assembled daemon: named tasks, signals, and an end in which every open part is answered."""

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from camera.process import CameraProcess
from daemon import logs, signals
from daemon.assemble import Daemon, assemble
from daemon.checks import outdated
from daemon.config import Config
from daemon.control import Control
from daemon.distant import Distant
from daemon.lock import held
from daemon.notify import Notifier
from daemon.orders import Orders
from daemon.promote import Promoter
from daemon.view import Readiness, View, readiness
from daemon.watchdog import Progress, Watchdog, record_stages
from dashboard.app import make_app
from dashboard.serve import serve
from inspection import clock
from inspection.errors import LinegateError
from vision.worker import State

LOG = logging.getLogger(__name__)
GRACE_S = 1.5  # for open parts at the end; with the children's own ends this stays under 5 s
OVERDUE_S = 2.0
PULSE_S = 0.2
STILL_S = 0.5
CAPTURE_PATIENCE_S = 120.0  # longer than a camera's own stall time-out and its longest pause between restarts
LIVE_KEYS = ("model.pass_below", "model.fail_above", "log.level", "log.format")


def run(config: Config, *, reread: Callable[[], Config]) -> None:
    """The daemon until SIGTERM or SIGINT.

    Raises ConfigError for what cannot be used, UnavailableError for what cannot be used now.
    """
    with held(config.state_dir):
        asyncio.run(_main(config, reread))


async def _main(config: Config, reread: Callable[[], Config]) -> None:
    await until_signalled(Supervisor(assemble(config)), reread)


async def until_signalled(supervisor: "Supervisor", reread: Callable[[], Config] | None) -> None:
    """Run until SIGTERM, SIGINT or the end of the terminal; without `reread`, until any SIGHUP."""
    stop = asyncio.Event()
    with signals.heeded(stop, supervisor.wants_reload if reread else None):
        await supervisor.run(stop, reread)


class Supervisor:
    """Owns the tasks of one daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self._notifier = Notifier.from_environment(os.environ, os.getpid())
        self._watchdog = Watchdog(self._notifier, self._stages())
        self.wants_reload = asyncio.Event()
        self._settled = asyncio.Event()  # the worker has come up once, or is known to be unable to
        self.view = View(daemon, self._watchdog)
        daemon.metrics.service.config_read(daemon.config.hash)
        daemon.metrics.children.pids = self._children

    async def run(self, stop: asyncio.Event, reread: Callable[[], Config] | None) -> None:
        """Until `stop` is set; then open parts are answered, records flushed and children ended.

        `reread` is called in a thread when `wants_reload` is set, and raises a LinegateError for what cannot be used.
        A task that ends by itself is a fault of ours: the whole daemon ends with it, and systemd starts anew.
        """
        daemon = self.daemon
        app = make_app(self.view, hosts=(daemon.config.http.host, *daemon.config.http.hosts))
        tasks: set[asyncio.Task[None]] = set()
        async with asyncio.TaskGroup() as group:

            def start(name: str, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
                task = group.create_task(coroutine, name=name)
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                return task

            promoter = Promoter(daemon, start)
            promoter.begin()
            orders = Orders(promoter, daemon.shadow, daemon.drift, daemon.config.stations, daemon.metrics)
            if daemon.config.model.library is not None:
                Distant(daemon, orders, daemon.config.model.library, start).listen()
            start("records", daemon.records.run())
            start("drift", daemon.drift.run())
            if daemon.archive:
                start("archive", daemon.archive.run())
            for unit in daemon.units:
                start(f"link {unit.name}", unit.link.run())
                for name, camera in unit.cameras.items():
                    free = unit.config.mode == "free_running"
                    start(f"camera {unit.name}/{name}", self._when_judged(camera) if free else camera.run())
            start("shadow", daemon.shadow.run())
            start("page", serve(app, daemon.page))
            start("pulse", self._pulse(promoter.swapped))
            if reread is not None:
                start("reload", self._reload(promoter, reread))
            start("control", Control(daemon.config.state_dir, orders.commands).run())
            start("watchdog", self._watchdog.run())
            host, port = daemon.page.getsockname()[:2]
            LOG.info("model %s: %s", daemon.models.live.bundle.model_id, daemon.origin.why)
            if advice := outdated(daemon.models.live.bundle):
                LOG.warning("%s", advice)
            LOG.info("session %s, page http://%s:%s", daemon.session, host, port)
            await stop.wait()
            await self._close()
            for task in list(tasks):
                task.cancel()
        self._notifier.close()
        LOG.info("ended")

    async def _when_judged(self, camera: CameraProcess) -> None:
        """Every picture of a free-running camera is a part: there are none before somebody can judge them."""
        await self._settled.wait()
        await camera.run()

    async def _pulse(self, swapped: asyncio.Event) -> None:
        """Tells PLCs and systemd how the stations stand, whenever it changes."""
        daemon, status = self.daemon, ""
        told: dict[str, tuple[Readiness, str]] = {}
        while True:
            swapped.clear()
            worker, bundle = daemon.models.live.worker, daemon.models.live.bundle
            for unit in daemon.units:
                state, reason = now = readiness(daemon, unit)
                unit.link.set_state(state, reason, bundle.model_id)
                daemon.metrics.service.set_ready(unit.name, ready=state == "ready" and unit.link.connected)
                if told.get(unit.name) != now:
                    told[unit.name] = now
                    LOG.info("station %s is %s %s", unit.name, state, reason)
            _, why = self.view.ready()
            daemon.metrics.set_model(bundle.model_id, worker.backend_name, bundle.recipe.enhance)
            if worker.state is not State.STARTING and not self._settled.is_set():
                # A camera or broker that is away must not fail the start: parts are answered without it.
                self._settled.set()
                self._notifier.ready(why)
            elif why != status:
                self._notifier.status(why)
            status = why
            began = clock.monotonic()
            with suppress(TimeoutError):
                async with asyncio.timeout(PULSE_S):
                    await swapped.wait()
            still = clock.monotonic() - began - PULSE_S
            if still > STILL_S:  # parts of that time are late or overwritten, and this tells why
                LOG.warning("stood still for %.1f s: the machine was stopped, or is busy with something else", still)

    async def _close(self) -> None:
        LOG.info("stopping")
        self._notifier.stopping("answering the open parts")
        for unit in self.daemon.units:
            unit.link.set_state("not_ready", "shutdown", self.daemon.models.live.bundle.model_id)
        await asyncio.gather(*(unit.station.close(GRACE_S) for unit in self.daemon.units))
        await asyncio.gather(*(unit.keeper.close() for unit in self.daemon.units if unit.keeper))
        await asyncio.gather(*(unit.recorder.close() for unit in self.daemon.units))
        if self.daemon.archive:
            await self.daemon.archive.close()

    async def _reload(self, promoter: Promoter, reread: Callable[[], Config]) -> None:
        """SIGHUP: apply what may change live, say what needs a restart, keep the old settings on a mistake."""
        while True:
            await self.wants_reload.wait()
            self.wants_reload.clear()
            self._notifier.reloading()
            status = "the configuration was not read again: the old settings stay"
            try:
                new = await asyncio.to_thread(reread)  # its folder may hang, and a large file takes seconds
                rules = await promoter.retune(new)
            except LinegateError as error:
                LOG.error("%s: %s", status, error)  # noqa: TRY400 - no traceback wanted
                self.daemon.metrics.service.config_refused()
            except Exception:  # outermost frame: no file may end a running line
                LOG.exception("%s: a fault of linegate", status)
                self.daemon.metrics.service.config_refused()
            else:
                status = "configuration read again"
                self.daemon.metrics.service.config_read(new.hash)
                logs.set_up(new.log.level, new.log.format)
                LOG.info("configuration read again: pass_below %g, fail_above %g", rules.pass_below, rules.fail_above)
                waiting = changed(self.daemon.config, new)
                if waiting:
                    LOG.warning("these changes wait for a restart: %s", ", ".join(waiting))
            self._notifier.ready(status)

    def _children(self) -> dict[str, int]:
        """The processes that run now, by name."""
        pids = {
            f"camera:{unit.name}/{name}": camera.pid
            for unit in self.daemon.units
            for name, camera in unit.cameras.items()
        }
        pids["worker"] = self.daemon.models.live.worker.pid
        candidate = self.daemon.shadow.candidate
        pids["candidate"] = candidate.worker.pid if candidate else None
        return {name: pid for name, pid in pids.items() if pid is not None}

    def _stages(self) -> dict[str, Callable[[], str]]:
        """What must move: free-running cameras give parts, open parts get verdicts, records reach disk and broker."""
        daemon, heard = self.daemon, self.daemon.metrics
        stages = {
            f"capture {unit.name}": Progress(
                lambda unit=unit: unit.station.ledger.captured,  # type: ignore[misc]
                lambda unit=unit: any(camera.up for camera in unit.cameras.values()),  # type: ignore[misc]
                patience=CAPTURE_PATIENCE_S,
            ).stuck
            for unit in daemon.units
            if unit.config.mode == "free_running"
        }
        return {
            **stages,
            "inference": lambda: daemon.models.live.batcher.stuck,
            "account": self._overdue,
            **record_stages(
                daemon.records,
                stored=lambda: heard.records_stored,
                link_up=lambda: heard.records_link_up,
                await_ack=daemon.config.records.await_ack,
            ),
        }

    def _overdue(self) -> str:
        overdue = (unit.station.ledger.overdue(OVERDUE_S) for unit in self.daemon.units)
        return next((f"part {part.id} of {part.station} has no verdict" for part in overdue if part), "")


def changed(old: Config, new: Config) -> list[str]:
    """The keys that differ and cannot be changed while parts move, sorted."""

    def flat(value: Any, where: str) -> dict[str, Any]:
        if isinstance(value, dict):
            return {k: v for key, inner in value.items() for k, v in flat(inner, f"{where}.{key}").items()}
        return {where.removeprefix("."): value}

    before, after = flat(old.model_dump(mode="json"), ""), flat(new.model_dump(mode="json"), "")
    keys = before.keys() | after.keys()
    return sorted(key for key in keys if before.get(key) != after.get(key) and key not in LIVE_KEYS)
