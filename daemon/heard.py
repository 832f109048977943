"""The metrics, and the few of them that the page shows as plain numbers."""

from collections import Counter
from collections.abc import Mapping, Sequence

from daemon.telemetry.metrics import Metrics
from inspection.frame import Crops, Missed
from inspection.verdict import Verdict


class Heard(Metrics):
    """Keeps the last value of what only passes through the probe."""

    outbox_depth = 0
    outbox_oldest_age = 0.0
    records_stored = 0
    records_delivered = 0
    records_lost = 0
    worker_restarts = 0
    records_link_up = False

    def __init__(
        self,
        *,
        cameras: Mapping[str, Sequence[str]],
        deadlines: Mapping[str, float],
        links: Sequence[str] = (),
        max_batch: int = 8,
        version: str = "",
        site: str = "",
        line: str = "",
    ) -> None:
        self.refused: Counter[str] = Counter()
        super().__init__(
            cameras=cameras,
            deadlines=deadlines,
            links=links,
            max_batch=max_batch,
            version=version,
            site=site,
            line=line,
        )

    def judged(self, verdict: Verdict, captures: Sequence[Crops | Missed]) -> None:  # noqa: ARG002 - an onlooker's
        """Called for each part behind its verdict."""
        if verdict.score is not None:
            self.service.score(verdict.part.station, verdict.score)

    def outbox(self, depth: int, oldest_age: float, used: float) -> None:
        super().outbox(depth, oldest_age, used)
        self.outbox_depth, self.outbox_oldest_age = depth, oldest_age

    def record_stored(self, count: int) -> None:
        super().record_stored(count)
        self.records_stored += count

    def record_delivered(self, count: int) -> None:
        super().record_delivered(count)
        self.records_delivered += count

    def record_lost(self, count: int, why: str) -> None:
        super().record_lost(count, why)
        self.records_lost += count

    def child_restarted(self, child: str, why: str) -> None:
        super().child_restarted(child, why)
        self.worker_restarts += child == "worker"

    def broker_connected(self, link: str, up: bool) -> None:
        super().broker_connected(link, up)
        if link == "records":
            self.records_link_up = up

    def trigger_refused(self, station: str, why: str) -> None:
        super().trigger_refused(station, why)
        self.refused[station] += 1
