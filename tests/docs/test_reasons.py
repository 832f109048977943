"""docs/reference/reasons.md tells of every reason, with the outcomes it really comes with."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from inspection.verdict import Reason

if TYPE_CHECKING:
    from tests.docs.conftest import Exposition

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
PAGE = (REFERENCE / "reasons.md").read_text()
SECTIONS = dict(re.findall(r"^## (\S+)\n\n(.+?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def test_the_page_has_a_section_for_each_reason_and_for_nothing_else() -> None:
    assert list(SECTIONS) == [reason.value for reason in Reason]


@pytest.mark.parametrize("reason", Reason)
def test_a_section_names_the_outcomes_says_when_and_what_to_do(reason: Reason, exposition: "Exposition") -> None:
    outcome, when, remedy = SECTIONS[reason].strip().split("\n\n")
    row = re.compile(rf'linegate_verdicts_total{{outcome="(\w+)",reason="{reason}",')
    assert set(re.findall(r"`([A-Z_]+)`", outcome)) == set(row.findall(exposition.text))
    assert outcome.startswith("Outcome: ")
    assert len(when) > 40
    assert len(remedy) > 10


def test_the_contract_for_plcs_names_the_same_reasons() -> None:
    table = (REFERENCE / "mqtt.md").read_text().partition("## Reasons")[2].partition("## ")[0]
    named = {word for row in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE) for word in re.findall(r"`(\w+)`", row)}
    assert named == {reason.value for reason in Reason} - {Reason.DUPLICATE_TRIGGER}
