"""Every read in every form, in three time zones of the machine, against the parquet files as DuckDB alone reads them.

The oracle shares no line with the service: SQL of its own over the files, the power method by bisection, sorting and
filtering by Python. The matches have what foreign pipelines write: nulls, ties, a price of one, teams with accents.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import duckdb
import orjson
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from app.artifacts.contract import ODDS, PREDICTIONS, ROI_BY_REGION
from tests.support.build_artifacts import NOW, write_artifacts
from tests.support.zoned import get, serve_in_zone

pytestmark = pytest.mark.timeout(600)
ZONES = ["UTC", "America/New_York", "Pacific/Auckland"]
MEDIA = {
    "json": "application/json",
    "csv": "text/csv",
    "arrow": "application/vnd.apache.arrow.stream",
}
FORMATS = ["json", "ndjson", "csv", "arrow", "parquet"]
SIDES = ("home", "draw", "away")
N_MATCHES = 240
VALUE_EDGE, KELLY_FRACTION, KELLY_CAP, MIN_HISTORY = 0.05, 0.25, 0.05, 5  # the defaults of the documentation
Row = dict[str, Any]


def with_foreign_values(predictions: pa.Table) -> pa.Table:
    """Teams with accents and formulas, equal kick-offs, unknown histories, statuses of every kind."""
    rng = random.Random(5)
    rows = predictions.to_pylist()
    for place, row in enumerate(rows):
        row["n_history_home"] = rng.choice([None, 0, 4, 5, 12, 30])
        row["n_history_away"] = rng.choice([None, 3, 5, 9, 30, 30])
        row["has_time"] = rng.random() < 0.8
        if place % 11 == 0:
            row["home_team"] = rng.choice(["ŁKS Łódź", "Málaga", "=1+1", 'Plain, "quoted"', "1. FC Köln"])
        if place % 7 == 0 and place:
            row["kickoff_utc"] = rows[place - 1]["kickoff_utc"]
        if row["status"] == "finished" and place % 17 == 0:
            status = rng.choice(["postponed", "cancelled", "awarded", "abandoned"])
            row.update(status=status, outcome=None)  # a table's or half a match's score is no outcome
            row.update({} if status in {"awarded", "abandoned"} else dict.fromkeys(("home_score", "away_score")))
    kinds = {"n_history_home": pa.int16(), "n_history_away": pa.int16(), "has_time": pa.bool_()}
    fields = [predictions.schema.field(name) for name in predictions.column_names]
    return pa.Table.from_pylist(rows, pa.schema([*fields, *(pa.field(name, kind) for name, kind in kinds.items())]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_artifacts(
        tmp_path_factory.mktemp("files") / "artifacts",
        n_matches=N_MATCHES,
        edit={PREDICTIONS: with_foreign_values},
    )


@pytest.fixture(scope="module", params=ZONES)
def url(request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an API process in that zone."""
    with serve_in_zone(request.param, folder, tmp_path_factory.mktemp("home")) as address:
        yield address


def read(folder: Path, sql: str) -> list[Row]:
    """Rows of SQL in which `{predictions}` and the others are the files."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        files = {"predictions": PREDICTIONS, "odds": ODDS, "roi": ROI_BY_REGION}
        named = sql.format(**{name: f"'{folder / file}'" for name, file in files.items()})
        return list(connection.sql(named).to_arrow_table().to_pylist())


def without_margin(prices: list[float]) -> list[float]:
    """The power method: the k at which the implied probabilities to the k sum to one, by bisection."""
    low, high = 0.01, 50.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if sum((1 / price) ** middle for price in prices) > 1 else (low, middle)
    return [(1 / price) ** low for price in prices]


def known_money(row: Row) -> Row:
    """What the documentation says follows from probabilities and prices."""
    prices = [row[f"odds_{side}"] for side in SIDES]
    if not all(price is not None and price > 1 for price in prices):
        return {}
    edges = [row[f"proba_{side}"] * price - 1 for side, price in zip(SIDES, prices, strict=True)]
    best = max(range(3), key=lambda place: (edges[place], -place))
    histories = (row["n_history_home"], row["n_history_away"])
    too_little = any(count is not None and count < MIN_HISTORY for count in histories)
    is_value = edges[best] >= VALUE_EDGE and not too_little
    kelly = min(max(edges[best] / (prices[best] - 1), 0) * KELLY_FRACTION, KELLY_CAP)
    is_settled = (
        is_value
        and row["status"] == "finished"
        and row["outcome"] is not None
        and not row["in_sample"]
        and row["captured_at"] <= row["kickoff_utc"]
    )
    won = row["outcome"] == best
    return {
        **{f"edge_{side}": edge for side, edge in zip(SIDES, edges, strict=True)},
        **{f"implied_{side}": 1 / price for side, price in zip(SIDES, prices, strict=True)},
        **{f"fair_{side}": fair for side, fair in zip(SIDES, without_margin(prices), strict=True)},
        "overround": sum(1 / price for price in prices) - 1,
        "best_edge": edges[best],
        "best_outcome": SIDES[best],
        "is_value": is_value,
        "kelly_stake": 0.0 if too_little else kelly,
        "profit": (prices[best] - 1 if won else -1.0) if is_settled else None,
        "odds_age_s": max((min(row["kickoff_utc"], NOW) - row["captured_at"]).total_seconds(), 0),
    }


MONEY = (
    *(f"{kind}_{side}" for kind in ("edge", "implied", "fair") for side in SIDES),
    *("overround", "best_edge", "best_outcome", "is_value", "kelly_stake", "profit", "odds_age_s"),
)


@dataclass(frozen=True)
class Files:
    """What the files say, in the words of the API, by kick-off and id."""

    cards: list[Row]
    regions: list[Row]

    @classmethod
    def read(cls, folder: Path) -> "Files":
        columns = ", ".join(f"{kind}_{side}" for kind in ("odds",) for side in SIDES)
        joined = read(
            folder,
            f"SELECT p.*, {columns}, bookmaker, captured_at, closing_home, closing_draw, closing_away "
            "FROM {predictions} p LEFT JOIN {odds} o USING (match_id) ORDER BY kickoff_utc, match_id",
        )
        regions = read(
            folder,
            "SELECT * FROM {roi} QUALIFY settled_until = max(settled_until) OVER (PARTITION BY region) ORDER BY 2",
        )
        return cls([cls._card(row) for row in joined], sorted(regions, key=lambda row: str(row["region"])))

    @staticmethod
    def _card(row: Row) -> Row:
        outcome = None if row["outcome"] is None else SIDES[row["outcome"]]
        names = {"kickoff_known": row["has_time"], "outcome": outcome, "predicted": SIDES[row["predicted_class"]]}
        hit = None if outcome is None else row["predicted_class"] == row["outcome"]
        return row | dict.fromkeys(MONEY) | known_money(row) | names | {"hit": hit}


@pytest.fixture(scope="module")
def files(folder: Path) -> Files:
    return Files.read(folder)


PREDICTION_FIELDS = (
    *("match_id", "kickoff_utc", "kickoff_known", "region", "tournament", "season", "home_team", "away_team", "status"),
    *("home_score", "away_score", "outcome", "proba_home", "proba_draw", "proba_away", "predicted", "in_sample"),
    *("model_name", "model_version", "model_stage", "model_run_id", "computed_at"),
)
ODDS_FIELDS = ("match_id", "odds_home", "odds_draw", "odds_away", "bookmaker", "captured_at", "overround")
CARD_FIELDS = (*PREDICTION_FIELDS, "hit", "odds_home", "odds_draw", "odds_away", "bookmaker", "captured_at", *MONEY)
REGION_FIELDS = ("region", "settled_until", "n_matches", "n_bets", "n_wins", "staked", "profit", "max_drawdown")


def flat(row: Row) -> Row:
    """An object of JSON as the columns that it is in the other forms."""
    prefixes = {"probabilities": "proba_", "odds": "odds_", "implied": "implied_", "fair": "fair_", "model": "model_"}
    columns: Row = {}
    for name, value in row.items():
        if name == "money":
            columns |= flat(value or {})
        elif name in prefixes and isinstance(value, dict):
            columns |= {f"{prefixes[name]}{part}": of_part for part, of_part in value.items()}
        else:
            columns[name] = value
    return columns


def rows_of(form: str, body: bytes) -> list[Row]:
    """The rows of an answer, flat."""
    if form == "json":
        return [flat(row) for row in orjson.loads(body)["items"]]
    if form == "ndjson":
        return [flat(orjson.loads(line)) for line in body.splitlines()]
    if form == "csv":
        options = pa_csv.ParseOptions(newlines_in_values=True)
        names = body.split(b"\n", 1)[0].decode().replace('"', "").split(",")
        kinds = {name: pa.string() for name in names if name.endswith(("_utc", "_at", "_until"))} | {
            "model_version": pa.string(),
            "model_run_id": pa.string(),
        }
        read_as = pa_csv.ConvertOptions(column_types=kinds, strings_can_be_null=True, quoted_strings_can_be_null=False)
        return list(pa_csv.read_csv(BytesIO(body), parse_options=options, convert_options=read_as).to_pylist())
    return list(
        (pq.read_table(BytesIO(body)) if form == "parquet" else pa.ipc.open_stream(body).read_all()).to_pylist()
    )


def plain(value: Any, form: str) -> Any:
    """A value without the clothes of its form."""
    if isinstance(value, str) and len(value) >= 20 and value[4] == "-" and value.endswith("Z"):
        return datetime.fromisoformat(value)
    if form == "csv" and isinstance(value, str) and value.startswith("'="):
        return value[1:]
    if isinstance(value, datetime):
        assert value.utcoffset() == timedelta(0)
    return value


def assert_same(found: list[Row], expected: list[Row], fields: tuple[str, ...], form: str) -> None:
    assert len(found) == len(expected)
    for row, of_files in zip(found, expected, strict=True):
        for name in fields:
            value, right = plain(row.get(name), form), of_files[name]
            if isinstance(right, float) and not isinstance(value, str | None):
                assert value == pytest.approx(right, rel=1e-12, abs=1e-12), (name, row["match_id"])
            else:
                assert value == right, (name, row)


@pytest.mark.parametrize("form", FORMATS)
def test_predictions_and_odds_are_those_of_the_files(url: str, files: Files, form: str) -> None:
    rows = rows_of(form, get(url, f"/predict/predictions/?format={form}"))
    assert_same(rows, files.cards, PREDICTION_FIELDS, form)
    rows = rows_of(form, get(url, f"/predict/odds/?format={form}"))
    assert_same(rows, [card for card in files.cards if card["odds_home"] is not None], ODDS_FIELDS, form)


@pytest.mark.parametrize("form", FORMATS)
def test_regions_are_those_of_the_file(url: str, files: Files, form: str) -> None:
    rows = rows_of(form, get(url, f"/predict/region-roi/?format={form}"))
    assert_same(rows, files.regions, REGION_FIELDS, form)


def test_one_match_is_its_row(url: str, files: Files) -> None:
    for card in files.cards[::7]:
        row = flat(orjson.loads(get(url, f"/predict/precomputed/{card['match_id']}")))
        assert_same([row], [card], PREDICTION_FIELDS, "json")


@dataclass(frozen=True)
class Question:
    """A filter with an order, as a query and as Python."""

    query: Row
    keep: Callable[[Row], bool]
    key: Callable[[Row], Any]
    is_reversed: bool

    def answer(self, cards: list[Row]) -> list[Row]:
        """The cards that pass, in order."""
        return sorted(filter(self.keep, cards), key=self.key, reverse=self.is_reversed)


def a_question(rng: random.Random) -> Question:
    """One of the API's filters and orders at random, several at once."""
    query: Row = {}
    tests: list[Callable[[Row], bool]] = []

    def ask(name: str, value: Any, keep: Callable[[Row], bool], share: float = 0.3) -> None:
        if rng.random() < share:
            query[name] = value
            tests.append(keep)

    regions = rng.sample(["England", "Scotland", "Italy"], rng.randint(1, 2))
    statuses = rng.sample(["finished", "upcoming", "postponed", "cancelled"], rng.randint(1, 2))
    since = NOW + timedelta(hours=rng.randint(-1500, 0))
    until = since + timedelta(hours=rng.randint(1, 900))
    edge = rng.choice([-0.1, 0.0, 0.05, 0.2])
    ask("region", regions, lambda card: card["region"] in regions)
    ask("tournament", "Serie A", lambda card: card["tournament"] == "Serie A", 0.1)
    ask("status", statuses, lambda card: card["status"] in statuses)
    ask("from", f"{since:%Y-%m-%dT%H:%M:%SZ}", lambda card: bool(card["kickoff_utc"] >= since))
    ask("to", f"{until:%Y-%m-%dT%H:%M:%SZ}", lambda card: bool(card["kickoff_utc"] < until))
    ask("min_edge", edge, lambda card: card["best_edge"] is not None and card["best_edge"] >= edge, 0.2)
    ask("value", "true", lambda card: bool(card["is_value"]), 0.2)
    order = rng.choice(["kickoff", "-kickoff", "edge", "-edge"])
    last = -2.0 if order == "-edge" else 1e300

    def by_edge(card: Row) -> Any:
        return (last if card["best_edge"] is None else card["best_edge"], card["match_id"])

    def by_kickoff(card: Row) -> Any:
        return (card["kickoff_utc"], card["match_id"])

    key = by_edge if "edge" in order else by_kickoff
    return Question(query | {"sort": order}, lambda card: all(each(card) for each in tests), key, order.startswith("-"))


@pytest.mark.parametrize("form", FORMATS)
def test_cards_that_pass_any_filters_are_those_of_the_files(url: str, files: Files, form: str) -> None:
    rng = random.Random(FORMATS.index(form))
    n_rows = 0
    for _ in range(40):
        question = a_question(rng)
        query = urlencode(question.query | {"limit": 1000, "format": form}, doseq=True)
        expected = question.answer(files.cards)
        rows = rows_of(form, get(url, f"/predict/cards/?{query}"))
        assert_same(rows, expected, CARD_FIELDS, form)
        n_rows += len(rows)
    assert n_rows > 1000


def test_pages_together_are_the_list_and_are_counted(url: str, files: Files) -> None:
    rng = random.Random(9)
    for _ in range(15):
        question = a_question(rng)
        expected, found, cursor = question.answer(files.cards), [], None
        while True:
            query = question.query | {"limit": rng.randint(5, 60)} | ({"cursor": cursor} if cursor else {})
            page = orjson.loads(get(url, f"/predict/cards/?{urlencode(query, doseq=True)}"))
            assert page["total"] == len(expected)
            found += [row["match_id"] for row in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert found == [card["match_id"] for card in expected]


@pytest.mark.parametrize("form", FORMATS)
def test_facets_and_roi_count_the_same_cards(url: str, files: Files, form: str) -> None:
    rng = random.Random(31)
    n_bets = 0
    for _ in range(10):
        question = a_question(rng)
        filters = {name: value for name, value in question.query.items() if name != "sort"}
        kept = question.answer(files.cards)
        open_ended = {name: value for name, value in filters.items() if name not in {"region", "tournament"}}
        facets = rows_of(form, get(url, f"/predict/facets/?{urlencode(open_ended | {'format': form}, doseq=True)}"))
        listed = orjson.loads(get(url, f"/predict/cards/?{urlencode(open_ended | {'limit': 1000}, doseq=True)}"))
        assert sum(row["n"] for row in facets) == listed["total"]

        roi = orjson.loads(get(url, f"/predict/roi/?{urlencode(filters, doseq=True)}"))
        profits = [card["profit"] for card in kept if card["profit"] is not None]
        assert (roi["n_matches"], roi["n_bets"]) == (len(kept), len(profits))
        assert roi["n_wins"] == sum(profit > 0 for profit in profits)
        assert roi["profit"] == pytest.approx(sum(profits), abs=1e-9)
        series = orjson.loads(get(url, f"/predict/performance/?{urlencode(filters, doseq=True)}"))
        judged = [card for card in kept if card["outcome"] and card["status"] == "finished" and not card["in_sample"]]
        assert (series["n_bets"], series["n_judged"]) == (len(profits), len(judged))
        n_bets += len(profits)
    assert n_bets > 0


@pytest.mark.parametrize("form", MEDIA)
def test_sql_reads_what_the_files_hold(url: str, folder: Path, form: str) -> None:
    ask = "SELECT region, count(*) AS n, sum(proba_home) AS p, min(kickoff_utc) AS first FROM {} GROUP BY 1 ORDER BY 1"
    body = get(url, "/sql", orjson.dumps({"sql": ask.format("predictions")}), accept=MEDIA[form])
    expected = read(folder, ask.format("{predictions}"))
    if form == "json":
        answer = orjson.loads(body)
        names = [column["name"] for column in answer["columns"]]
        rows = [dict(zip(names, row, strict=True)) for row in answer["rows"]]
    else:
        rows = rows_of(form, body)
    assert len(rows) == len(expected) == 3
    for row, right in zip(rows, expected, strict=True):
        assert (row["region"], int(row["n"])) == (right["region"], right["n"])
        assert float(row["p"]) == pytest.approx(right["p"])
        first = row["first"]
        moment = first if isinstance(first, datetime) else datetime.fromisoformat(str(first))
        assert moment.replace(tzinfo=moment.tzinfo or UTC) == right["first"]
