"""What Prometheus reads."""

import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families

from daemon.telemetry.metrics import Metrics
from inspection.verdict import Outcome, Reason


def make_metrics() -> Metrics:
    return Metrics(
        cameras={"raceway": ["top"], "live": ["left", "right"]},
        deadlines={"raceway": 0.33, "live": 0.75},
        links=["raceway", "live", "records"],
        version="0.1.0",
    )


@pytest.fixture
def metrics() -> Metrics:
    return make_metrics()


def values(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = metrics.render().decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def total(metrics: Metrics, name: str, **labels: str) -> float:
    wanted = set(labels.items())
    return sum(value for (found, having), value in values(metrics).items() if found == name and wanted <= having)


def test_every_series_that_can_be_named_is_there_at_zero(metrics: Metrics) -> None:
    seen = values(metrics)
    for outcome, reason in [("PASS", "score"), ("FAIL", "uncertain"), ("NO_VERDICT", "deadline")]:
        labels = frozenset({"station": "raceway", "outcome": outcome, "reason": reason}.items())
        assert seen["linegate_verdicts_total", labels] == 0
    assert seen["linegate_camera_up", frozenset({"station": "raceway", "camera": "top"}.items())] == 0
    assert seen["linegate_broker_connected", frozenset({("link", "records")})] == 0


def test_captured_is_verdicts_plus_open_in_every_scrape_while_parts_come_and_go(metrics: Metrics) -> None:
    def line() -> None:
        for _ in range(3000):
            metrics.part_opened("raceway")
            metrics.part_closed("raceway", Outcome.PASS, Reason.SCORE)

    worker = threading.Thread(target=line)
    worker.start()
    differences = set()
    while worker.is_alive():
        text = values(metrics)
        sums = {
            name: sum(v for (found, _), v in text.items() if found == f"linegate_{name}")
            for name in ("parts_captured_total", "verdicts_total", "parts_open")
        }
        differences.add(sums["parts_captured_total"] - sums["verdicts_total"] - sums["parts_open"])
        assert 0 <= sums["parts_open"] <= 1
    worker.join()
    assert differences <= {0}
    assert metrics.account("raceway").captured == 3000


def test_the_account_of_a_station_is_the_one_in_the_exposition(metrics: Metrics) -> None:
    metrics.part_opened("raceway")
    metrics.part_opened("raceway")
    metrics.part_closed("raceway", Outcome.NO_VERDICT, Reason.DEADLINE)
    account = metrics.account("raceway")
    assert (account.captured, account.opened) == (2, 1)
    assert account.verdicts[Outcome.NO_VERDICT, Reason.DEADLINE] == 1
    assert total(metrics, "linegate_parts_open", station="raceway") == 1


def test_the_share_in_time_is_read_exactly_because_each_deadline_is_an_edge(metrics: Metrics) -> None:
    metrics.stage("raceway", "total", 0.33)
    metrics.stage("raceway", "total", 0.3301)
    assert total(metrics, "linegate_stage_seconds_bucket", stage="total", station="raceway", le="0.33") == 1
    assert total(metrics, "linegate_stage_seconds_bucket", stage="total", station="live", le="0.75") == 0


def test_words_from_outside_do_not_make_new_series(metrics: Metrics) -> None:
    for number in range(500):
        metrics.trigger_refused("raceway", f"why {number}")
        metrics.record_lost(1, f"why {number}")
        metrics.stage("raceway", f"stage {number}", 0.1)
        metrics.queue_depth(f"queue {number}", number)
        metrics.broker_connected(f"link {number}", up=True)
        metrics.child_restarted(f"child {number}", f"exit {number}")
    assert total(metrics, "linegate_triggers_refused_total", reason="other") == 500
    assert total(metrics, "linegate_records_lost_total", reason="other") == 500
    series = [name for name, _ in values(metrics) if not name.endswith("_bucket")]
    assert len(series) < 800


def test_a_new_model_replaces_the_one_named_before(metrics: Metrics) -> None:
    metrics.set_model("aaaa", "onnx-cpu", "equalize_gradient")
    metrics.set_model("bbbb", "openvino", "equalize_gradient")
    assert total(metrics, "linegate_model_info") == 1
    assert total(metrics, "linegate_model_info", hash="bbbb", backend="openvino") == 1


def test_two_registries_share_nothing() -> None:
    first, second = make_metrics(), make_metrics()
    first.verdict_late("raceway")
    assert total(first, "linegate_verdicts_late_total") == 1
    assert total(second, "linegate_verdicts_late_total") == 0
