"""The documentation is complete and says what the code says."""

import configparser
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import BaseModel

from app.api.problems import HTTP_CODES
from app.api.routes import ROUTES
from app.artifacts.columns import (
    HISTORY_COLUMNS,
    MONEY_COLUMNS,
    ODDS_COLUMNS,
    PREDICTIONS_COLUMNS,
    PRICES_COLUMNS,
    REGION_MONEY_COLUMNS,
    STATUSES,
    Column,
)
from app.artifacts.contract import FILES, DriftFeature, DriftReport
from app.artifacts.manifest import FileStamp, Manifest
from app.auth.keys import Scope
from app.domain.drift import CheckState, FeatureState, ReportState, Verdict
from app.errors import ServiceError
from app.settings import Settings
from app.store.database import open_connection
from app.store.money import MoneyRules
from app.store.tables import ODDS, PREDICTIONS, fill_from_folder
from app.telemetry.api_metrics import Metrics
from app.telemetry.page import PageMetrics
from infra.tools import reference
from tests.support.build_artifacts import write_artifacts
from tests.support.examples import PAGES, ROOT, find_examples
from worker.metrics import PoolMetrics

DOCS = ROOT / "infra" / "docs"


def read_page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def read_tables(name: str, *header: str) -> list[list[str]]:
    """Return the rows of all tables of a page that have this header."""
    tables = read_page(name).split("| " + " | ".join(header) + " |\n")[1:]
    assert tables, f"{name} has no table {header}"
    rows = []
    for table in tables:
        for line in table.splitlines()[1:]:
            if not line.startswith("|"):
                break
            rows.append([cell.strip().strip("`") for cell in re.split(r"(?<!\\)\|", line.strip()[1:-1])])
    return rows


def find_missing(page: str, words: Iterable[str]) -> list[str]:
    """Return the words that a page does not name in code marks."""
    prose = re.sub(r"^```.*?^```", "", read_page(page), flags=re.DOTALL | re.MULTILINE)
    named = set(re.findall(r"`([^`\n]+)`", prose))
    return [word for word in words if word not in named]


def test_tables_are_those_of_the_code() -> None:
    """When this fails: scripts/docs tables."""
    assert [path.name for path, _text in reference.find_stale_pages()] == []


def test_a_table_behind_the_code_is_found(tmp_path: Path) -> None:
    page = tmp_path / "settings.md"
    page.write_text("<!-- generated: settings -->\n| variable |\n<!-- end -->\n")
    assert reference.write_pages(tmp_path) == [page]
    assert "| `APP_PORT` | `8000` | port of the API |" in page.read_text()
    assert reference.write_pages(tmp_path) == []


def test_readme_is_a_front_door() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_every_route_is_on_its_pages() -> None:
    routes = [f"{route.method} {route.path}" for route in ROUTES]
    assert find_missing("http.md", routes) == []
    titles = set(re.findall(r"^## (.+)$", read_page("http-reference.md"), re.MULTILINE))
    assert {re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route) for route in routes} <= titles


def test_every_code_and_type_of_a_problem_is_on_its_page() -> None:
    codes = {error.code for error in ServiceError.__subclasses__()} | set(HTTP_CODES.values()) | {"internal-error"}
    assert find_missing("http.md", [*codes, *(f"urn:problem:{code}" for code in codes)]) == []


def test_every_scope_is_on_its_page() -> None:
    assert find_missing("keys.md", Scope) == []


def test_every_setting_is_on_its_page() -> None:
    assert find_missing("settings.md", [name.upper() for name in Settings.model_fields]) == []


def test_every_metric_is_on_its_page() -> None:
    families = [name for metrics in (Metrics(), PoolMetrics(), PageMetrics()) for name in metrics.registry.families]
    assert find_missing("metrics.md", families) == []


def test_every_script_is_on_its_page_with_what_it_does() -> None:
    scripts = [path for path in (ROOT / "scripts").iterdir() if path.is_file()]
    assert find_missing("scripts.md", [f"scripts/{path.name}" for path in scripts]) == []
    for path in scripts:
        assert path.read_text().splitlines()[1].startswith("# "), f"{path.name} does not say what it does"


def test_every_tox_environment_is_on_its_page() -> None:
    tox = configparser.ConfigParser()
    tox.read(ROOT / "tox.ini")
    environments = [name.partition(":")[2] for name in tox.sections() if name.startswith("testenv:")]
    assert find_missing("development.md", environments) == []


def contract_rows(columns: Mapping[str, Column]) -> dict[str, tuple[str, str]]:
    """Return type and null rule of each column, in the words of the page."""
    return {
        name: (
            column.kind,
            "yes" if column.may_be_null else "no" + "; the column may be absent" * column.may_be_missing,
        )
        for name, column in columns.items()
    }


def documented_columns(title: str) -> dict[str, tuple[str, str]]:
    """Return type and null rule of each column in the section of a file."""
    section = read_page("artifacts.md").split(f"\n## {title}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|[^|]*\| (no|yes|no; [^|]+) \|", section, re.MULTILINE)
    return {name: (kind.strip(), null.strip()) for name, kind, null in rows}


def test_every_file_of_the_contract_is_on_its_page() -> None:
    assert find_missing("artifacts.md", FILES) == []


@pytest.mark.parametrize(
    ("file", "columns"),
    [
        ("predictions/predictions.parquet", PREDICTIONS_COLUMNS),
        ("match_links/fonbet_odds.parquet", ODDS_COLUMNS),
    ],
)
def test_every_column_is_on_its_page_with_type_and_null_rule(file: str, columns: Mapping[str, Column]) -> None:
    documented = documented_columns(file)
    expected = contract_rows(columns)
    assert {name: documented.get(name) for name in expected} == expected


def test_every_optional_column_is_on_its_page() -> None:
    assert find_missing("artifacts.md", [name for name in (*PREDICTIONS, *ODDS) if name != "in_sample"]) == []
    assert find_missing("artifacts.md", STATUSES) == []


def test_every_column_of_the_prices_is_on_its_page_with_its_type() -> None:
    assert documented_columns("match_links/prices.parquet") == contract_rows(PRICES_COLUMNS)


def test_every_column_of_the_roi_tables_is_on_its_page_with_its_type() -> None:
    documented = documented_columns("The five ROI tables")
    expected: dict[str, pa.DataType] = dict(MONEY_COLUMNS) | dict(REGION_MONEY_COLUMNS)
    assert {name: documented.get(name, ("", ""))[0] for name in expected} == {
        name: str(kind) for name, kind in expected.items()
    }


def test_every_column_of_the_history_is_on_its_page() -> None:
    added = {name: column for columns in HISTORY_COLUMNS.values() for name, column in columns.items()}
    new = {name: added[name] for name in added if name not in {*PREDICTIONS_COLUMNS, *ODDS_COLUMNS}}
    documented = documented_columns("History, for time travel")
    assert documented == contract_rows(new)


@pytest.mark.parametrize("model", [DriftReport, DriftFeature, Manifest, FileStamp])
def test_every_field_of_the_json_files_is_on_its_page(model: type[BaseModel]) -> None:
    assert find_missing("artifacts.md", model.model_fields) == []


@pytest.mark.parametrize("states", [FeatureState, ReportState, CheckState])
def test_every_state_of_drift_is_on_its_page(states: type[FeatureState] | type[ReportState] | type[CheckState]) -> None:
    assert find_missing("drift.md", states) == []


def test_every_verdict_of_drift_is_on_its_page() -> None:
    assert find_missing("artifacts.md", Verdict) == []


def test_the_columns_of_cards_are_those_that_sql_finds(tmp_path: Path) -> None:
    connection = open_connection()
    try:
        fill_from_folder(connection, write_artifacts(tmp_path), datetime(2026, 8, 20, tzinfo=UTC), MoneyRules())
        described = connection.execute("DESCRIBE cards").fetchall()
    finally:
        connection.close()
    documented = [row[:2] for row in read_tables("sql.md", "column", "type", "meaning")]
    assert documented == [[str(row[0]), str(row[1])] for row in described]


def test_every_page_is_in_the_navigation_once() -> None:
    listed = re.findall(r"^ +- (\S+\.md)$", (ROOT / "infra" / "mkdocs.yml").read_text(), re.MULTILINE)
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md") if path.parent.name != "changes"}
    assert set(listed) == pages
    assert len(listed) == len(pages)


def test_every_decision_is_listed_and_no_number_is_missing() -> None:
    pages = sorted(path.name for path in (DOCS / "decisions").glob("0*.md"))
    assert [int(name[:4]) for name in pages] == list(range(1, len(pages) + 1))
    assert re.findall(r"^\| \[\d{4}\]\((\S+\.md)\)", read_page("decisions/README.md"), re.MULTILINE) == pages


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    """Relative links, as a reader of a plain checkout follows them; mkdocs checks the anchors too."""
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_is_named_is_there(page: Path) -> None:
    pattern = r"`((?:app|worker|dashboards|infra|scripts|tests)/[\w/.-]*)`"
    named = set(re.findall(pattern, page.read_text()))
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_an_example_that_does_not_run_says_why() -> None:
    examples = [example for page in PAGES for example in find_examples(page)]
    assert len(examples) > 40
    assert [example.name for example in examples if example.kind != "runs" and len(example.reason) < 10] == []
    assert sum(example.kind == "not run" for example in examples) < len(examples) / 3
