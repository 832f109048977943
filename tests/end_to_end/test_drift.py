"""A lens that comes loose on a running line: an alarm, a state that says so where that is wanted, and verdicts."""

import json
from pathlib import Path

from camera.impression import Impressions
from camera.simulated import SimulatedConfig, draw_part
from daemon.drift import FILE
from inspection.impression import PICTURES
from tests.end_to_end.conftest import Line, until
from vision.drift import WINDOW, Alarm, Reference

STEADY = (WINDOW + 1) * PICTURES
CAMERA = {"kind": "simulated", "width": 160, "height": 120, "rate_hz": 15, "distinct": PICTURES}


def learnt_before(state: Path) -> None:
    """As if the station had seen good pictures on the day before."""
    impressions, looks = Impressions(), []
    for number in range(2 * WINDOW * PICTURES):
        impressions.add(draw_part(SimulatedConfig.model_validate(CAMERA), number % PICTURES + 1)[0], 8)
        if impressions.pictures == PICTURES:
            looks.append(impressions.take())
    reference = Reference.learn(looks)
    assert reference is not None
    state.mkdir()
    known = {"pictures": {"press/top": reference.model_dump(mode="json")}, "scores": {}}
    (state / FILE).write_text(json.dumps(known))


def test_a_lens_that_comes_loose_is_an_alarm_and_costs_no_verdict(line: Line) -> None:
    learnt_before(line.folder / "state")
    press = line.settings["stations"]["press"]
    press["mode"] = "free_running"
    press["deadline_ms"] = 5000
    press["cameras"]["top"] = CAMERA | {"script": [{"at": STEADY + 1, "do": "blur", "for_frames": 100_000}]}
    line.settings["drift"] = {"on_alarm": "not_ready"}
    line.start()
    assert line.metric("linegate_drift_alarm") == 0

    until(lambda: line.metric("linegate_drift_alarm", camera="top", reason=str(Alarm.FOCUS_LOSS)), "the alarm is there")
    assert line.metric("linegate_drift_alarm", reason=str(Alarm.EXPOSURE_SHIFT)) == 0
    assert line.metric("linegate_drift_deviation", reason=str(Alarm.FOCUS_LOSS)) > 0.1
    until(lambda: "press: focus_loss: top" in line.get("/readyz")[1], "the station is not ready, and says why")

    judged = line.metric("linegate_verdicts_total", reason="score")
    until(lambda: line.metric("linegate_verdicts_total", reason="score") > judged, "parts are judged as ever")
    assert line.stop() == 0
    assert "station press, camera top: focus_loss: 0." in line.log
