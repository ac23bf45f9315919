"""Alerts and boards: promtool runs their tests, and nothing asks for a metric that nobody serves."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import promql_parser
import pytest
import yaml

from app.telemetry.api_metrics import Metrics
from app.telemetry.page import PageMetrics
from infra.tools import boards
from infra.tools.promtool import promtool
from tests.chart.chart import ROOT
from worker.metrics import PoolMetrics

pytestmark = pytest.mark.timeout(600)
PROMETHEUS = ROOT / "infra" / "prometheus"
RULES = yaml.safe_load((PROMETHEUS / "rules.yaml").read_text())
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"] if "alert" in rule]
RECORDED = {rule["record"] for group in RULES["groups"] for rule in group["rules"] if "record" in rule}
SCHEMA = json.loads((Path(__file__).parent / "grafana-dashboard-13.2.3.schema.json").read_text())


def checked(*arguments: str) -> str:
    """What promtool says; it must not complain."""
    answer = subprocess.run(
        [promtool(), *arguments], cwd=PROMETHEUS, capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def served() -> set[str]:
    """Every series name of our processes."""
    names: set[str] = set()
    for metrics in (Metrics(), PoolMetrics(), PageMetrics()):
        for name in metrics.registry.families:
            names |= {name, f"{name}_bucket", f"{name}_count", f"{name}_sum"}
    return names


def asked(expression: str) -> set[str]:
    """The series names in a piece of PromQL, which must parse."""
    whole = expression.replace("$__rate_interval", "5m")
    parsed = promql_parser.parse(whole)
    assert parsed is not None
    words = set(
        re.findall(r"[a-z_:0-9]*[a-z_:][a-z_:0-9]*(?=[{\[\s)]|$)", re.sub(r"\"[^\"]*\"|by \([^)]*\)", "", whole))
    )
    return {word for word in words if "_" in word} - {"histogram_quantile"}


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every target of every panel, and what is marked on all."""
    for name, text in boards.write_boards().items():
        for annotation in json.loads(text)["annotations"]["list"]:
            yield f"{name}: {annotation['name']}", annotation
        for panel in json.loads(text)["panels"]:
            for target in panel["targets"]:
                yield f"{name}: {panel['title']}", target


def test_promtool_finds_nothing_wrong_with_rules_and_configuration() -> None:
    assert "SUCCESS" in checked("check", "rules", "rules.yaml")
    assert "SUCCESS" in checked("check", "config", "prometheus.yml")


def test_the_rules_do_what_their_tests_say() -> None:
    assert "SUCCESS" in checked("test", "rules", "rules_test.yaml")


@pytest.mark.parametrize("alert", ALERTS, ids=[alert["alert"] for alert in ALERTS])
def test_each_alert_says_how_bad_it_is_and_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"page", "ticket"}
    file, _, anchor = alert["annotations"]["runbook"].partition("#")
    assert anchor == alert["alert"].lower()
    assert f"\n## {alert['alert']}\n" in (ROOT / file).read_text()


def test_the_runbook_has_no_section_of_an_alert_that_is_gone() -> None:
    sections = re.findall(r"^## (\w+)$", (ROOT / "infra" / "docs" / "runbook.md").read_text(), re.MULTILINE)
    assert set(sections) == {alert["alert"] for alert in ALERTS}


def test_rules_ask_only_for_what_is_served() -> None:
    for group in RULES["groups"]:
        for rule in group["rules"]:
            assert asked(rule["expr"]) <= served() | RECORDED, rule


def test_boards_ask_only_for_what_is_served() -> None:
    found = list(panels())
    assert len(found) > 50
    for title, target in found:
        assert asked(target["expr"]) <= served() | RECORDED, title


def test_a_metric_that_nobody_serves_would_be_noticed() -> None:
    assert not asked('sum by (le) (rate(http_request_seconds_bucket{route="/x_y"}[5m]))') <= served()


def test_the_boards_are_the_ones_that_the_code_writes() -> None:
    """When this fails: python -m infra.tools.boards."""
    written = {path.name: path.read_text() for path in boards.FOLDER.glob("*.json")}
    assert written == boards.write_boards()


def without_annotation_query(text: str) -> str:
    """A board without what its data source reads of an annotation, which Grafana's schema of dashboards leaves out."""
    board = json.loads(text)
    for annotation in board["annotations"]["list"]:
        for member in ("expr", "step", "useValueForTime", "titleFormat", "textFormat"):
            assert annotation.pop(member)
    return json.dumps(board)


def test_grafana_takes_the_boards() -> None:
    validator = jsonschema.Draft7Validator(SCHEMA)
    for name, text in boards.write_boards().items():
        plain = json.loads(without_annotation_query(text))
        assert [error.message for error in validator.iter_errors(plain)] == [], name
    assert list(validator.iter_errors({**plain, "panels": "none"}))
