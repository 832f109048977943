"""The PLC programs of "Connect a PLC", run scan by scan against the contract's payloads, on a belt of parts."""

import json
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspection.part import Part, PartId, Trigger
from inspection.verdict import Outcome, Reason, Verdict
from tests.docs.iec import FUNCTIONS, IecError, Parser, Program, Run, ladder, structured_text
from transport import wire

GUIDES = Path(__file__).parents[2] / "docs" / "how-to"
TEXT = (GUIDES / "inspection-gate.st").read_text()
RUNGS = (GUIDES / "inspection-gate.ladder").read_text()
SESSION = "154f91b0"
SOONEST, LATEST, WINDOW = 500, 1500, 300


def as_text() -> tuple[Program, Run]:
    return structured_text(TEXT)


def as_ladder() -> tuple[Program, Run]:
    """The rungs with the variables of the text, and what only they need."""
    program, _ = structured_text(TEXT)
    for name in ("FirstScan", "Arrived", "Empty", "Answered"):
        program.types[name.upper()], program.values[name.upper()] = "BOOL", False
    program.values["UNSURE"] = False
    asking = re.search(r"    IF Healthy THEN\n(.*?)        Send +:=", TEXT, re.DOTALL)
    assert asking
    rungs = ladder(RUNGS, program, Parser(asking[1]).program())
    first = [True]

    def run(program: Program) -> None:
        program.set("FirstScan", first[0])
        first[0] = False
        rungs(program)

    return program, run


both = pytest.mark.parametrize("make", [as_text, as_ladder])
Make = Callable[[], tuple[Program, Run]]


@dataclass(frozen=True)
class OnBelt:
    """A part: its length, the gap before it, whether its sensor sees it; what the station says, and how late."""

    long_ms: int = 100
    gap_ms: int = 2000
    seen: bool = True
    answer: str = "PASS"
    after_ms: int = 50


@dataclass
class Line:
    """The belt, the PLC with its scan, and the station. Times in ms."""

    make: Make
    scan_ms: int = 5
    travel_ms: int = 800
    beats: Callable[[int], bool] = lambda _: True
    connected: Callable[[int], bool] = lambda _: True
    triggers: list[tuple[int, int]] = field(default_factory=list)
    open_for: set[int] = field(default_factory=set)
    passed: set[int] = field(default_factory=set)
    opened_ms: int = 0

    def run(self, parts: list[OnBelt], *, start_ms: int = 1600) -> None:
        """`open_for`: parts that have met an open gate; `passed`: those whose PASS has come inside the window."""
        program, scan = self.make()
        state = json.loads(wire.encode_state("ready", "", "723b9b466277", session=SESSION, utc=0.0))
        fronts, at = [], start_ms
        for part in parts:
            at += part.gap_ms
            fronts.append(at)
            at += part.long_ms
        messages: deque[tuple[int, bytes, int]] = deque()
        said: list[tuple[int, bytes, int]] = []
        begun: dict[int, int] = {}
        beat = -1000
        for now in range(0, at + self.travel_ms + 2 * LATEST, self.scan_ms):
            program.now = now
            at_gate = [n for n, f in enumerate(fronts) if 0 <= now - f - self.travel_ms < parts[n].long_ms]
            at_sensor = [n for n, f in enumerate(fronts) if 0 <= now - f < parts[n].long_ms]
            for n, f in enumerate(fronts):  # also between two scans
                there = now - self.scan_ms < f + self.travel_ms + parts[n].long_ms and f + self.travel_ms <= now
                if there and program["GateOpen"]:
                    self.open_for.add(n)
            arrived = sorted(one for one in said if one[0] <= now)
            said = [one for one in said if one[0] > now]
            messages.extend(arrived)
            due = now // 1000 > beat // 1000
            beat = now
            program.set("PartSensor", any(parts[n].seen for n in at_sensor))
            program.set("GateSensor", bool(at_gate))
            program.set("Connected", self.connected(now))
            program.set("StateText", state["state"])
            program.set("StateSession", state["session"])
            program.set("NewBeat", due and self.beats(now))
            program.set("NewVerdict", bool(messages))
            if messages:
                _, payload, about = messages.popleft()
                heard = json.loads(payload)
                program.set("MsgTrigger", heard["trigger"])
                program.set("MsgSession", heard["session"])
                program.set("MsgVerdict", heard["verdict"])
                right = heard["verdict"] == "PASS" and heard["session"] == SESSION and about in begun
                if right and now - begun[about] < WINDOW + self.scan_ms and heard["trigger"] == self.triggers[-1][0]:
                    self.passed.add(about)
            scan(program)
            self.opened_ms += self.scan_ms * program["GateOpen"]
            if program["Send"]:
                about = max(n for n in at_sensor if parts[n].seen)
                request = wire.parse_trigger(program["Message"].encode())
                assert isinstance(request.trigger, int)
                assert (request.window_ms, request.session) == (WINDOW, SESSION)
                self.triggers.append((request.trigger, about))
                begun[about] = now
                said += [(when, payload, about) for when, payload in answers(parts[about], request.trigger, now)]


def answers(part: OnBelt, trigger: int, now: int) -> list[tuple[int, bytes]]:
    """What comes on .../verdict for this trigger, and when."""
    if part.answer == "silence":
        return []
    outcome = {"NO_VERDICT": Outcome.NO_VERDICT, "FAIL": Outcome.FAIL}.get(part.answer, Outcome.PASS)
    asked = Trigger(trigger - 1 if part.answer == "other trigger" else trigger, PartId("p"), 0.0, 1.0, WINDOW)
    reason = Reason.DEADLINE if outcome is Outcome.NO_VERDICT else Reason.SCORE
    verdict = Verdict(Part("press", PartId("p"), 1, 0.0, 1.0, asked), outcome, reason, 0.1, 0.0)
    session = "00000000" if part.answer == "other session" else SESSION
    payload = wire.encode_verdict(verdict, session=session, left_s=0.1, utc=now / 1000)
    first = (now + part.after_ms, payload)
    return [first, (now + part.after_ms + 1, payload)] if part.answer == "twice" else [first]


ANSWERS = ["PASS", "twice", "FAIL", "NO_VERDICT", "silence", "other trigger", "other session"]


@both
def test_parts_with_a_pass_find_the_gate_open_and_one_trigger_is_sent_for_each(make: Make) -> None:
    parts = [OnBelt(), OnBelt(answer="FAIL"), OnBelt(long_ms=400), OnBelt(answer="silence"), OnBelt(answer="twice")]
    line = Line(make)
    line.run(parts)
    assert [about for _, about in line.triggers] == [0, 1, 2, 3, 4]
    assert [trigger for trigger, _ in line.triggers] == [1, 2, 3, 4, 5]
    assert line.open_for == {0, 2, 4}
    assert line.opened_ms < 3 * (LATEST - SOONEST)


@both
def test_a_part_that_stands_before_the_camera_for_long_is_asked_for_once(make: Make) -> None:
    for answer in ("PASS", "silence"):
        line = Line(make, scan_ms=10)
        line.run([OnBelt(long_ms=20_000, answer=answer), OnBelt(gap_ms=3000)])
        assert [about for _, about in line.triggers] == [0, 1]


@both
def test_a_part_that_the_sensor_misses_does_not_pass_on_an_older_pass(make: Make) -> None:
    for gap in (30, 200, 1200, 3000):
        line = Line(make)
        line.run([OnBelt(), OnBelt(gap_ms=gap, seen=False), OnBelt(gap_ms=3000)])
        assert line.open_for == {0, 2}


@both
def test_a_part_that_was_there_at_the_start_does_not_pass(make: Make) -> None:
    """It is before the camera, between the sensors, or at the gate when the PLC starts."""
    for start in range(-900, 100, 100):
        line = Line(make)
        line.run([OnBelt(gap_ms=0), OnBelt(gap_ms=4000)], start_ms=start)
        assert line.open_for == {1}
    for start in range(-350, -100, 50):  # the second arrives as soon as the PLC runs, on the heels of the first
        line = Line(make)
        line.run([OnBelt(gap_ms=0, answer="FAIL"), OnBelt(gap_ms=300), OnBelt(gap_ms=4000)], start_ms=start)
        assert line.open_for == {2}


@both
def test_a_long_part_that_the_sensor_misses_does_not_pass_on_the_pass_of_the_next(make: Make) -> None:
    """It is still at the gate when the gate would open for the part behind it."""
    line = Line(make)
    line.run([OnBelt(long_ms=1500, seen=False), OnBelt(gap_ms=150), OnBelt(gap_ms=4000)])
    assert line.open_for == {2}


@both
def test_without_heartbeats_nothing_passes_whatever_the_retained_state_says(
    make: Make,
) -> None:
    silent = Line(make, beats=lambda _: False)
    silent.run([OnBelt()] * 3)
    assert not silent.triggers
    assert not silent.open_for
    dying = Line(make, beats=lambda now: now < 4500)
    dying.run([OnBelt(), OnBelt(gap_ms=9000)])
    assert dying.open_for == {0}
    assert len(dying.triggers) == 1


@both
def test_the_gate_closes_when_the_connection_is_lost_and_stays_closed_for_that_part(make: Make) -> None:
    away = range(3600 + 850, 3600 + 870)
    line = Line(make, connected=lambda now: now not in away)
    line.run([OnBelt(long_ms=600), OnBelt(gap_ms=3000)])
    assert line.open_for == {0, 1}
    assert line.opened_ms < 2 * (LATEST - SOONEST) - 600


@both
def test_two_parts_between_the_sensors_are_both_rejected(make: Make) -> None:
    line = Line(make)
    line.run([OnBelt(), OnBelt(gap_ms=200), OnBelt(gap_ms=3000)])
    assert line.open_for == {2}
    assert len(line.triggers) == 3


PART = st.builds(
    OnBelt,
    long_ms=st.one_of(st.integers(1, 600), st.integers(1, 3000)),
    gap_ms=st.integers(0, 2500),
    seen=st.sampled_from([True, True, True, False]),
    answer=st.sampled_from(ANSWERS),
    after_ms=st.integers(0, 600),
)


@both
@given(
    parts=st.lists(PART, min_size=1, max_size=4),
    scan=st.integers(4, 60),
    travel=st.integers(560, 1300),
    dead=st.tuples(st.integers(0, 10_000), st.integers(0, 6000)),
)
@settings(max_examples=40, deadline=None)
def test_no_part_without_a_pass_of_its_own_finds_the_gate_open_and_none_is_asked_for_twice(
    make: Make, parts: list[OnBelt], scan: int, travel: int, dead: tuple[int, int]
) -> None:
    """Whatever the parts' lengths, the scan, and the station's silence.

    A gap is seen where it lasts two scans, and a part where it lasts more than one. Where one of two parts is missed,
    they are further apart than the gate may be open.
    """
    placed: list[OnBelt] = []
    for part in parts:
        before = placed[-1] if placed else part
        both_seen = all(one.seen and one.long_ms > scan for one in (before, part))
        apart = 2 * scan if both_seen else LATEST - SOONEST + 2 * scan - before.long_ms
        placed.append(replace(part, gap_ms=part.gap_ms + max(apart, 2 * scan)))
    line = Line(make, scan_ms=scan, travel_ms=travel, beats=lambda now: not dead[0] <= now < sum(dead))
    line.run(placed)
    asked = [about for _, about in line.triggers]
    assert len(asked) == len(set(asked)), "two triggers for one part"
    assert line.open_for <= line.passed
    if dead[1] < 900:
        assert all(n in asked for n, part in enumerate(parts) if part.seen and part.long_ms > scan)


def test_a_scan_longer_than_a_part_may_miss_it_and_does_not_pass_it() -> None:
    line = Line(as_text, scan_ms=50)
    line.run([OnBelt(long_ms=20) for _ in range(20)])
    assert len(line.triggers) <= 20
    assert line.open_for <= {about for _, about in line.triggers}


def test_the_trigger_fits_the_contract_and_a_short_string_up_to_the_largest_number() -> None:
    line_program, scan = as_text()
    line_program.values["TRIGGER"] = 2147483646
    texts = []
    for now in range(0, 4000, 10):
        line_program.now = now
        line_program.set("NewBeat", now % 1000 == 0)
        line_program.set("Connected", True)
        line_program.set("StateText", "ready")
        line_program.set("StateSession", SESSION)
        line_program.set("PartSensor", now % 2000 >= 1000)
        scan(line_program)
        if line_program["Send"]:
            texts.append(line_program["Message"])
    assert [wire.parse_trigger(text.encode()).trigger for text in texts] == [2147483647, 1]
    assert len(texts[0]) <= 80
    assert "TRIGGER" in line_program.retained


def test_the_page_shows_the_programs_that_are_tested() -> None:
    page = (GUIDES / "connect-a-plc.md").read_text()
    fences = re.findall(r"^```\w*\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert TEXT in fences
    assert RUNGS in fences
    assert FUNCTIONS.keys() == {"CONCAT", "UDINT_TO_STRING"}
    assert not re.search(r"CONCAT\d", page)


def test_what_is_no_standard_program_is_refused_by_the_interpreter() -> None:
    for old, new in (
        ("CONCAT(Message, AskedIn)", "CONCAT5(Message, AskedIn)"),
        ("Waiting := FALSE;", "Waiting := 0;"),
        ("Arrives(CLK := PartSensor);", "Arrives(IN := PartSensor);"),
        ("Send := FALSE;", "Sent := FALSE;"),
        ("WINDOW_TIME  : TIME", "Asked : TIME"),
    ):
        with pytest.raises(IecError):
            Line(partial(structured_text, TEXT.replace(old, new, 1))).run([OnBelt()])
