"""docs/reference/metrics.md tells of every metric, and of none that is not there."""

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.telemetry.metrics import REFUSALS, STAGES
from daemon.telemetry.records import LOSSES, REFUSERS

if TYPE_CHECKING:
    from tests.docs.conftest import Exposition

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
PAGE = (REFERENCE / "metrics.md").read_text()
ROW = re.compile(r"^\| `([a-z_]+)` \| (counter|gauge|histogram) \| ([a-z, ]*) ?\| (.+?) \| (.*) ?\|$", re.MULTILINE)


def test_every_metric_is_on_the_page_with_its_type_and_labels_and_no_other_is(exposition: "Exposition") -> None:
    told = {row[1]: (row[2], frozenset(row[3].replace(",", "").split())) for row in ROW.finditer(PAGE)}
    assert told == {name: (exposition.kinds[name], labels) for name, labels in exposition.families.items()}


def test_every_metric_of_ours_tells_what_to_do(exposition: "Exposition") -> None:
    silent = [row[1] for row in ROW.finditer(PAGE) if row[1].startswith("linegate_") and not row[5].strip()]
    assert not silent


def test_every_metric_that_a_sentence_names_exists(exposition: "Exposition") -> None:
    named = set(re.findall(r"\blinegate_[a-z_]+\b", "".join(path.read_text() for path in REFERENCE.glob("*.md"))))
    assert named <= exposition.series.keys() | exposition.families.keys()


def test_stages_losses_and_refusals_are_explained() -> None:
    stages = set(re.findall(r"^\| `([a-z]+)` \| [a-z]", PAGE, re.MULTILINE))
    assert stages == {stage for stage in STAGES if stage != "total"}
    assert not [why for why in (*LOSSES, *REFUSERS) if f"`{why}`" not in PAGE]
    contract = (REFERENCE / "mqtt.md").read_text()
    assert not [why for why in REFUSALS if f"refused `{why}`" not in contract]


def test_the_exposition_keeps_prometheus_own_rules(exposition: "Exposition") -> None:
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=exposition.text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
