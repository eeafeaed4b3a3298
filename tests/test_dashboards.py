"""Dashboard, alerts and documents name what a real scrape has: no metric, label or state of theirs is made up."""

import asyncio
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml
from scraping import PROMTOOL, everything, samples
from servers import RedisServer
from test_shipped import headings

from bridge.metrics import STATES

ROOT = Path(__file__).parents[1]
ALERTS = ROOT / "config" / "prometheus" / "alerts.yaml"
DASHBOARD = ROOT / "config" / "grafana" / "runbridge.json"
OPERATIONS = ROOT / "docs" / "operations.md"
TARGET = {"job", "instance"}
"""Labels that Prometheus gives to all series of a scrape."""


@pytest.fixture(scope="module")
def scrape(shared_servers: dict[str, RedisServer]) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """What Prometheus gets, beside `up`, which it makes itself."""
    found = samples(asyncio.run(everything(shared_servers["valkey"], "t-dashboards")))
    return {"up": {(): 1.0}, **found}


def rules() -> list[dict[str, Any]]:
    """The alerts."""
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def panels() -> list[dict[str, Any]]:
    """The dashboard's, without the headings of its rows."""
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def asked() -> Iterator[tuple[str, str]]:
    """Every expression that is shipped, with where it stands."""
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$__rate_interval", "5m")
    for variable in json.loads(DASHBOARD.read_text())["templating"]["list"]:
        if variable["type"] == "query":
            selector, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"]).groups()  # type: ignore[union-attr]
            yield variable["name"], f"sum by ({label}) ({selector})"


ASKED = list(asked())


def parts(expression: Any) -> Iterator[Any]:
    """An expression and all that is in it."""
    yield expression
    for name in ("expr", "lhs", "rhs", "vector_selector", "param"):
        inner = getattr(expression, name, None)
        if inner is not None:
            yield from parts(inner)
    for inner in getattr(expression, "args", None) or ():
        yield from parts(inner)


def selectors(expression: Any) -> Iterator[Any]:
    """The series that are asked for."""
    return (part for part in parts(expression) if isinstance(part, promql.VectorSelector))


def grouping(expression: Any) -> set[str]:
    """The labels that results are grouped or matched by."""
    found = set()
    for part in parts(expression):
        modifier = getattr(part, "modifier", None)
        matching = getattr(modifier, "matching", modifier)
        found |= set(getattr(matching, "labels", None) or ())
    return found


@pytest.mark.parametrize(("where", "expression"), ASKED)
def test_every_series_that_is_asked_for_exists(where: str, expression: str, scrape: dict[str, Any]) -> None:
    """Each metric and label is one of a real scrape, and so is each state that is compared with."""
    found = promql.parse(expression)
    there = set(TARGET)
    for selector in selectors(found):
        assert selector.name in scrape, f"{where}: no metric {selector.name}"
        labels = {name for series in scrape[selector.name] for name, _ in series}
        there |= labels
        for matcher in selector.matchers.matchers:
            assert matcher.name in labels | TARGET, f"{where}: {selector.name} has no label {matcher.name}"
            if matcher.name in {"state", "outcome"} and selector.name != "runbridge_webhook_attempts_total":
                known = {dict(series)[matcher.name] for series in scrape[selector.name]}
                assert set(matcher.value.split("|")) <= known, f"{where}: {matcher.value}"
    assert grouping(found) <= there, f"{where}: grouped by {grouping(found) - there}"


def test_every_expression_is_looked_into() -> None:
    """The walk finds the metrics and labels that a plain search for words finds."""
    for _, expression in ASKED:
        words = set(re.findall(r"\b(?:runbridge|process|python)_\w+|\bup\b", expression))
        assert {selector.name for selector in selectors(promql.parse(expression))} == words
        named = {name for by in re.findall(r"\b(?:by|on) \(([\w, ]+)\)", expression) for name in by.split(", ")}
        assert grouping(promql.parse(expression)) == named


def test_every_metric_is_in_the_operations_page(scrape: dict[str, Any]) -> None:
    """The table has those of the bridge, with their labels: no more and no fewer."""
    listed = dict(re.findall(r"^\| `(runbridge_\w+)` \|([\w, ]*)\|", OPERATIONS.read_text(), re.MULTILINE))
    there: dict[str, set[str]] = {}
    for name, series in scrape.items():
        family = re.sub(r"_(bucket|sum|count)$", "", name)
        if family.startswith("runbridge_"):
            there.setdefault(family, set()).update(label for each in series for label, _ in each)
    assert {name: set(labels.strip().split(", ")) - {""} for name, labels in listed.items()} == {
        name: labels - {"le"} for name, labels in there.items()
    }
    for state, number in STATES.items():
        assert f"{number} {state}" in OPERATIONS.read_text()


def test_every_alert_says_what_to_do() -> None:
    """Severity, one sentence, what it means, and a section of the runbook; the page lists just these."""
    table = dict(re.findall(r"^\| `(Runbridge\w+)` \| (\w+) \|", OPERATIONS.read_text(), re.MULTILINE))
    assert table == {rule["alert"]: rule["labels"]["severity"] for rule in rules()}
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        document, _, section = rule["annotations"]["runbook_url"].partition("#")
        assert document == "docs/operations.md"
        assert section in headings(OPERATIONS), f"no section {section}"
        assert rule["annotations"]["summary"].endswith(".")


def test_the_dashboard_can_be_imported() -> None:
    """Every panel has its own id and place, a description, and the data source that is chosen."""
    dashboard = json.loads(DASHBOARD.read_text())
    taken: set[tuple[int, int]] = set()
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        across, down = (range(place[at], place[at] + place[size]) for at, size in (("x", "w"), ("y", "h")))
        cells = {(x, y) for x in across for y in down}
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells
    for panel in panels():
        assert panel["description"].endswith(".")
        assert {panel["datasource"]["uid"], *(target["datasource"]["uid"] for target in panel["targets"])} == {
            "${datasource}"
        }
    assert [variable["name"] for variable in dashboard["templating"]["list"]] == [
        "datasource", "instance", "source", "destination",
    ]  # fmt: skip


@pytest.mark.skipif(not PROMTOOL, reason="promtool is not installed")
def test_promtool_agrees(tmp_path: Path) -> None:
    """Prometheus itself takes the rules, and they fire when they should, on series made for it."""
    checked = subprocess.run(
        [str(PROMTOOL), "check", "rules", str(ALERTS)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    cases = (ROOT / "tests" / "alerts_cases.yaml").read_text()
    (tmp_path / "cases.yaml").write_text(cases.replace("ALERTS", str(ALERTS)))
    judged = subprocess.run(
        [str(PROMTOOL), "test", "rules", str(tmp_path / "cases.yaml")], capture_output=True, text=True, check=False
    )
    assert judged.returncode == 0, judged.stdout + judged.stderr
