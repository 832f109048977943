"""docs/reference/alarms.md tells of every alarm, and of its limit as the code has it."""

import re
from pathlib import Path

import pytest

from vision.drift import LEAST, Alarm

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "alarms.md").read_text()
SECTIONS = dict(re.findall(r"^## (\S+)\n\n(.+?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
LIMITS = dict(re.findall(r"^\| `(\w+)` \| .+ \| ([\d.]+) \|$", PAGE, re.MULTILINE))


def test_the_page_has_a_section_and_a_limit_for_each_alarm_and_for_nothing_else() -> None:
    assert list(SECTIONS) == list(Alarm)
    assert list(LIMITS) == list(SECTIONS)


@pytest.mark.parametrize("alarm", Alarm)
def test_a_section_says_what_is_seen_and_what_to_do_and_the_limit_is_that_of_the_code(alarm: Alarm) -> None:
    seen, remedy = SECTIONS[alarm].strip().split("\n\n")
    assert len(seen) > 20
    assert len(remedy) > 20
    assert float(LIMITS[alarm]) == LEAST[alarm]
