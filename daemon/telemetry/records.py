"""What becomes of the records, as Prometheus sees it."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from daemon.telemetry.labels import BoundedLabel

LOSSES = ("overflow", "damaged", "refused", "shutdown")
REFUSERS = ("broker", "consumer", "connection")


class RecordMetrics:
    """Filled by Metrics, which the pipeline tells."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"linegate_{name}", text, registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"linegate_{name}", text, labels, registry=registry)

        self.waiting = gauge("outbox_records", "Records stored and not yet delivered.")
        self.aside = gauge("outbox_aside_records", "Records among them that were refused and are tried again seldom.")
        self.oldest = gauge("outbox_oldest_age_seconds", "Age of the oldest undelivered record that is not set aside.")
        self.used = gauge("outbox_used_ratio", "How full the outbox file is: 1 is records.max_mb.")
        self.stored = counter("records_stored", "Records committed to disk.")
        self.delivered = counter("records_delivered", "Records that the consumer's broker took over.")
        self._refused = counter("records_refused", "Records set aside, by who did not take them.", "reason")
        self._lost = counter("records_lost", "Records given up, by reason.", "reason")
        self._by = BoundedLabel(REFUSERS)
        self._why_lost = BoundedLabel(LOSSES)
        for by in REFUSERS:
            self._refused.labels(by)
        for why in LOSSES:
            self._lost.labels(why)

    def refuse(self, count: int, by: str) -> None:
        """`by` is one of REFUSERS."""
        self._refused.labels(self._by(by)).inc(count)

    def lose(self, count: int, why: str) -> None:
        """`why` is one of LOSSES."""
        self._lost.labels(self._why_lost(why)).inc(count)
