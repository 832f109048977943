"""The dashboard and the alert rules ask for nothing that is not there, and do what they say."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from tests.docs.conftest import Exposition

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "grafana"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "linegate.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
GROUPS: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
RULES: dict[str, dict[str, Any]] = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}
# What Grafana puts in place of its variables before it asks.
VARIABLES = {"$__rate_interval": "1m", "$instance": ".*", "$station": ".*", "$job": "linegate"}
OF_PROMETHEUS = {"instance", "job", "le"}


def queries() -> Iterator[tuple[str, str]]:
    """Every query with where it stands."""
    for panel in PANELS:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for annotation in DASHBOARD["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"]
    for name, rule in RULES.items():
        yield name, rule["expr"]


def promtool(*arguments: str, cwd: Path = FOLDER) -> None:
    done = subprocess.run(["promtool", *arguments], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def selectors(expression: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Each metric that an expression reads, with its label matchers."""
    for name, matchers in re.findall(r"\b((?:linegate|process)_[a-z_]+|up)\b(?:\{([^}]*)\})?", expression):
        yield name, dict(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"', matchers))


@pytest.mark.parametrize(("where", "expression"), list(queries()))
def test_a_query_reads_metrics_labels_and_values_that_exist(
    where: str, expression: str, exposition: "Exposition"
) -> None:
    read = list(selectors(expression))
    assert read
    for name, matchers in read:
        if name == "up":
            continue
        assert name in exposition.series, f"{where}: there is no {name}"
        assert matchers.keys() <= exposition.series[name] | OF_PROMETHEUS, f"{where}: labels of {name}"
        for label, value in matchers.items():
            if re.fullmatch(r"\w+", value):
                assert value in exposition.values[name][label], f"{where}: {name} has no {label}={value}"
    known = set().union(*(exposition.series[name] for name, _ in read if name != "up")) | OF_PROMETHEUS
    for listed in re.findall(r"\b(?:by|without|on|ignoring) \(([^)]*)\)", expression):
        assert set(listed.replace(",", " ").split()) <= known, f"{where}: ({listed})"


def test_prometheus_understands_every_query(tmp_path: Path) -> None:
    rules = []
    for number, (_, expression) in enumerate(queries()):
        if expression.startswith("label_values("):
            continue  # Grafana's own
        filled = re.sub(r"\$(__)?[a-z_]+", lambda name: VARIABLES[name[0]], expression)
        rules.append({"record": f"query:{number}", "expr": filled})
    (tmp_path / "queries.yml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    promtool("check", "rules", "queries.yml", cwd=tmp_path)
    assert len(rules) > 50


def test_the_alert_rules_are_sound_and_each_fires_for_its_trouble_alone() -> None:
    promtool("check", "rules", "alerts.yml")
    promtool("test", "rules", "alerts_test.yml")


def test_each_alert_is_tried_in_its_trouble_and_on_a_healthy_line() -> None:
    healthy, *troubles = yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]
    silent = [tried["alertname"] for tried in healthy["alert_rule_test"] if not tried["exp_alerts"]]
    assert set(silent) == set(RULES)
    assert len(silent) == len(healthy["alert_rule_test"])
    for test in troubles:
        before, after = test["alert_rule_test"]
        assert (before["alertname"], before["exp_alerts"]) == (after["alertname"], [])
        assert after["exp_alerts"]
    assert [test["alert_rule_test"][0]["alertname"] for test in troubles] == list(RULES)


@pytest.mark.parametrize("name", RULES)
def test_an_alert_says_how_bad_it_is_what_happened_and_where_to_read_on(name: str) -> None:
    rule = RULES[name]
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"]["summary"]
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert page.startswith("docs/reference/")
    headings = re.findall(r"^#+ +(.+)$", (ROOT / page).read_text(), re.MULTILINE)
    assert anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_dashboard_shows_every_metric_of_ours(exposition: "Exposition") -> None:
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for _, query in queries() for name, _ in selectors(query)}
    assert {name for name in exposition.families if name.startswith("linegate_")} <= shown


def test_every_panel_has_an_id_a_title_a_unit_and_a_word_of_explanation() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    for panel in PANELS:
        assert panel["title"], panel["id"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["description"], panel["title"]
        assert panel["targets"], panel["title"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(references) == len(set(references)), panel["title"]


def test_every_panel_asks_the_data_source_that_the_viewer_chose() -> None:
    assert DASHBOARD["templating"]["list"][0]["type"] == "datasource"
    sources = re.findall(r'"uid": "([^"]*)"', json.dumps([DASHBOARD["panels"], DASHBOARD["annotations"]]))
    assert set(sources) == {"${datasource}"}
    told = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$(?!__)\{?(\w+)", json.dumps(PANELS)))
    # $1 stands for the group that a regular expression of label_replace found.
    assert used - {"1"} <= told


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
