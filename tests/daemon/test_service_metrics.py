"""What Prometheus reads of stations, children and the configuration."""

import os
import subprocess
import sys

import pytest

from daemon.heard import Heard
from inspection import clock
from inspection.part import Part, PartId
from inspection.verdict import Outcome, Reason, Verdict
from tests.daemon.test_metrics import total


@pytest.fixture
def metrics() -> Heard:
    return Heard(
        cameras={"raceway": ["top"], "live": ["left"]},
        deadlines={"raceway": 0.33, "live": 0.75},
        site="plant1",
        line="line2",
    )


def test_each_station_is_ready_or_not_for_itself(metrics: Heard) -> None:
    metrics.service.set_ready("raceway", ready=True)
    assert total(metrics, "linegate_ready", station="raceway") == 1
    assert total(metrics, "linegate_ready", station="live") == 0


def test_site_and_line_are_labels_of_one_metric(metrics: Heard) -> None:
    assert total(metrics, "linegate_line_info", site="plant1", line="line2") == 1


def test_the_score_of_a_judged_part_is_counted_and_a_part_without_one_is_not(metrics: Heard) -> None:
    now = clock.monotonic()
    part = Part("raceway", PartId("1"), 1, now, now + 1)
    metrics.judged(Verdict(part, Outcome.FAIL, Reason.SCORE, 0.93, now), ())
    metrics.judged(Verdict(part, Outcome.NO_VERDICT, Reason.DEADLINE, None, now), ())
    assert total(metrics, "linegate_score_count", station="raceway") == 1
    assert total(metrics, "linegate_score_bucket", station="raceway", le="0.9") == 0
    assert total(metrics, "linegate_score_bucket", station="raceway", le="0.95") == 1


def test_a_refused_reload_shows_until_a_good_one(metrics: Heard) -> None:
    metrics.service.config_read("aaaa")
    read = total(metrics, "linegate_config_last_reload_success_timestamp_seconds")
    assert read == pytest.approx(clock.utc(), abs=600)
    metrics.service.config_refused()
    assert total(metrics, "linegate_config_last_reload_successful") == 0
    assert total(metrics, "linegate_config_info", hash="aaaa") == 1
    metrics.service.config_read("bbbb")
    assert total(metrics, "linegate_config_last_reload_successful") == 1
    assert total(metrics, "linegate_config_info") == total(metrics, "linegate_config_info", hash="bbbb") == 1


def test_cpu_and_memory_of_a_child_are_those_of_its_process_and_it_may_end_at_any_time(metrics: Heard) -> None:
    work = "import sys; held = bytes(64 << 20); sum(range(10_000_000)); print(1, flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        metrics.children.pids = lambda: {"worker": os.getpid(), "camera:raceway/top": child.pid}
        assert child.stdout
        child.stdout.readline()
        used = total(metrics, "linegate_child_cpu_seconds_total", child="camera:raceway/top")
        held = total(metrics, "linegate_child_resident_memory_bytes", child="camera:raceway/top")
        assert used > 0
        assert held > 4 << 20
        child.communicate()
    assert total(metrics, "linegate_child_cpu_seconds_total", child="camera:raceway/top") == 0
    assert total(metrics, "linegate_child_cpu_seconds_total", child="worker") > 0
