"""What documents and dashboards are checked against: a registry in which everything has happened once."""

import os
from collections.abc import Mapping

import pytest
from prometheus_client.parser import text_string_to_metric_families

from daemon.telemetry.metrics import Metrics
from inspection.verdict import Outcome, Reason
from vision.drift import Alarm
from vision.watch import Reading

Labels = frozenset[str]


class Exposition:
    """A rendered /metrics. `families` as one writes them (a counter with _total), `series` as PromQL names them."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.kinds: dict[str, str] = {}
        self.families: dict[str, Labels] = {}
        self.series: dict[str, Labels] = {}
        self.values: dict[str, dict[str, set[str]]] = {}
        for family in text_string_to_metric_families(text):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            self.kinds[name] = family.type
            assert family.samples, f"{name} has no series: the fixture must make it move"
            self.families[name] = frozenset(family.samples[0].labels) - {"le"}
            for sample in family.samples:
                self.series[sample.name] = frozenset(sample.labels)
                for label, value in sample.labels.items():
                    self.values.setdefault(sample.name, {}).setdefault(label, set()).add(value)


@pytest.fixture(scope="session")
def exposition() -> Exposition:
    cameras: Mapping[str, list[str]] = {"raceway": ["top"], "outfeed": ["belt"]}
    metrics = Metrics(
        cameras=cameras,
        deadlines={"raceway": 0.5, "outfeed": 1.0},
        links=[*cameras, "records"],
        version="0.1.0",
        site="demo",
        line="line1",
    )
    metrics.children.pids = lambda: {"worker": os.getpid()}
    metrics.service.config_read("0123456789ab")
    metrics.part_opened("raceway")
    metrics.part_closed("raceway", Outcome.PASS, Reason.SCORE)
    metrics.latency_curve([0.01])
    metrics.queue_depth("inference", 1)
    metrics.set_model("0123456789ab", "onnx-cpu", "equalize_gradient")
    metrics.expect_commands(["promote", "shadow_counts"])
    metrics.set_shadow("ba9876543210")
    metrics.drifted("raceway", "top", {Alarm.FOCUS_LOSS: Reading(0.02, 0.1, raised=False)})
    metrics.drift_to_learn("raceway", "top", 120)
    return Exposition(metrics.render().decode())
