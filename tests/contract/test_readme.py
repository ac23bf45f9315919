"""README tells the truth about settings, endpoints, scripts and environments."""

import configparser
import json
import re
from pathlib import Path

import pytest

from app.api.routes import ROUTES
from app.settings import Settings
from app.telemetry.api_metrics import Metrics
from app.telemetry.page import PageMetrics
from worker.metrics import PoolMetrics

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def rows(*header: str) -> list[list[str]]:
    """The rows of the table with that header."""
    _before, found, rest = README.partition("| " + " | ".join(header) + " |\n")
    assert found, f"README has no table {header}"
    lines = rest.splitlines()[1:]
    table = lines[: next(n for n, line in enumerate([*lines, ""]) if not line.startswith("|"))]
    return [[cell.strip().strip("`") for cell in re.split(r"(?<!\\)\|", line.strip("|"))] for line in table]


def test_every_setting_stands_in_the_table_with_its_default_and_meaning() -> None:
    expected = [
        [name.upper(), shown(field.get_default()), field.description or ""]
        for name, field in Settings.model_fields.items()
    ]
    assert rows("variable", "default", "meaning") == expected


def shown(default: object) -> str:
    if default is None:
        return ""
    if isinstance(default, tuple):
        return json.dumps(default)
    secret = getattr(default, "get_secret_value", None)
    return str(secret() if secret else default)


def test_every_endpoint_stands_in_the_table_with_its_summary() -> None:
    found = {(method_and_path, summary) for method_and_path, summary in rows("method and path", "answers")}
    assert found == {(f"{route.method} {route.path}", route.summary) for route in ROUTES}


def test_every_script_stands_in_the_table() -> None:
    scripts = {f"scripts/{path.name}" for path in (ROOT / "scripts").iterdir() if path.is_file()}
    assert {row[0] for row in rows("script", "does")} == scripts


def test_every_tox_environment_is_named() -> None:
    tox = configparser.ConfigParser()
    tox.read(ROOT / "tox.ini")
    environments = {section.split(":")[1] for section in tox.sections() if section.startswith("testenv:")}
    sentence = re.search(r"`scripts/test ENV` runs one tox environment: (.*?)\.", README)
    assert sentence is not None
    assert set(sentence[1].split(", ")) == environments


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", README))))
def test_what_it_links_to_exists(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:app|worker|dashboards|infra|scripts)/[\w/.-]*)`", README)))
)
def test_the_files_it_names_exist(path: str) -> None:
    assert (ROOT / path).exists()


def test_every_metric_stands_in_the_table_with_its_labels_and_meaning() -> None:
    """When this fails: who serves it, its labels and its help, as app/telemetry has them."""
    served: dict[str, tuple[str, str, list[str]]] = {}
    for who, metrics in (("API", Metrics()), ("worker pool", PoolMetrics()), ("match page", PageMetrics())):
        for name, family in metrics.registry.families.items():
            served.setdefault(name, (", ".join(family.labels), family.doc, []))[2].append(who)
    expected = [[name, ", ".join(whose), labels, doc] for name, (labels, doc, whose) in sorted(served.items())]
    assert rows("metric", "from", "labels", "meaning") == expected
