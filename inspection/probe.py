"""What the pipeline tells whoever counts. The default is silent, so that no floor needs a metrics library."""

from collections.abc import Sequence

from inspection.verdict import Outcome, Reason


class Probe:
    """Override what you want to hear. Every method returns at once and never raises. Times are seconds."""

    def part_opened(self, station: str) -> None: ...
    def part_closed(self, station: str, outcome: Outcome, reason: Reason) -> None: ...
    def verdict_late(self, station: str) -> None:
        """A verdict was ready only after its deadline, or with no broker: it was not published."""

    def publish_refused(self, station: str, topic: str) -> None:
        """The broker did not take what the station published; `topic` is the last level of it, or `response`."""

    def trigger_refused(self, station: str, why: str) -> None: ...
    def stage(self, station: str, stage: str, seconds: float) -> None:
        """`stage` is capture, prepare, queue, infer, publish or total."""

    def frame(self, station: str, camera: str) -> None: ...
    def frame_missed(self, station: str, camera: str, reason: Reason) -> None: ...
    def frame_unmatched(self, station: str, camera: str) -> None:
        """A hardware-triggered picture came that no trigger had announced."""

    def camera_up(self, station: str, camera: str, up: bool) -> None: ...
    def child_restarted(self, child: str, why: str) -> None:
        """`child` is worker or camera:STATION/NAME."""

    def batch(self, size: int, seconds: float) -> None: ...
    def queue_depth(self, queue: str, depth: int) -> None: ...
    def latency_curve(self, seconds_by_batch: Sequence[float]) -> None:
        """Index 0 is batch 1."""

    def broker_connected(self, link: str, up: bool) -> None: ...
    def callback_failed(self, link: str) -> None: ...
    def outbox(self, depth: int, oldest_age: float, used: float) -> None:
        """`depth` records have not arrived; their file is filled to `used`, 0..1 of its cap."""

    def record_stored(self, count: int) -> None: ...
    def record_delivered(self, count: int) -> None: ...
    def record_lost(self, count: int, why: str) -> None: ...
    def record_refused(self, count: int, by: str) -> None:
        """Records were set aside; `by` is broker, consumer or connection."""

    def records_aside(self, count: int) -> None:
        """So many are set aside now."""

    def picture_kept(self, station: str, archive_bytes: int) -> None: ...
    def picture_lost(self, station: str, why: str) -> None:
        """`why` is overwritten, overload, disk or shutdown."""


SILENT = Probe()
