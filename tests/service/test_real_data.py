"""The real collection, where a developer has it: every match of every file, and real bookmaker lines linked."""

import asyncio
import gzip
import io
import os
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from app.artifacts.contract import FEATURES, ODDS, PREDICTIONS
from app.domain.odds import fair
from app.store.as_of import as_of_snapshot
from app.store.money import MoneyRules
from app.store.snapshot import OpenRules, Snapshot, open_snapshot
from tests.support.build_artifacts import stamp, write_drift
from worker.pipeline.bookmaker_feed.fonbet import read_feed
from worker.pipeline.bookmaker_feed.import_odds import import_feed
from worker.pipeline.ingest.reader import Ingest, read_folder
from worker.pipeline.output.history import EarlierHistory, extend_history
from worker.pipeline.output.odds_file import write_odds
from worker.pipeline.output.predictions_file import write_predictions
from worker.pipeline.output.roi_tables import write_roi_tables
from worker.pipeline.output.value_bets import settle_matches

FOLDER = Path(os.environ.get("TOUCHLINE_REAL_DATA") or Path(__file__).parents[3] / "shared" / "data")  # noqa: TID251
BUILT = datetime(2026, 8, 20, 12, tzinfo=UTC)
LONDON = ZoneInfo("Europe/London")
pytestmark = [
    pytest.mark.skipif(not (FOLDER / "main").is_dir(), reason="no real data: set TOUCHLINE_REAL_DATA to its folder"),
    pytest.mark.timeout(600),  # the whole collection is read, with coverage, beside other tests
]


@pytest.fixture(scope="module")
def real() -> Ingest:
    """The whole collection, at the noon of its newest list."""
    return read_folder(FOLDER, now=BUILT)


def test_every_match_of_every_season_file(real: Ingest) -> None:
    season_files = [each for each in real.report.files if not each.path.startswith("fixtures/")]
    assert len(season_files) == 628
    assert sum(each.matches for each in season_files) == 265_441
    assert real.report.matches == real.matches.num_rows == 265_441 + real.report.n_upcoming + real.report.n_awaiting
    assert len(pc.unique(real.matches["match_id"])) == real.matches.num_rows


def test_every_row_is_accounted_for(real: Ingest) -> None:
    assert all(each.is_balanced for each in real.report.files)
    assert not real.report.faults
    assert real.report.rows_in == real.matches.num_rows + real.report.skipped.total()


def test_dates_and_results_are_those_of_the_collection(real: Ingest) -> None:
    finished = real.matches.filter(pc.equal(real.matches["status"], "finished"))
    assert pc.min(finished["kickoff_utc"]).as_py().date() == datetime(1993, 7, 23, tzinfo=UTC).date()
    assert pc.max(finished["kickoff_utc"]).as_py().year == 2026
    assert finished["outcome"].null_count == 0
    assert finished.num_rows == 265_437 - 89  # four matches have no score, 88 were awarded, one abandoned


def test_matches_without_a_result_are_those_of_the_newest_lists(real: Ingest) -> None:
    upcoming = real.matches.filter(pc.equal(real.matches["status"], "upcoming"))
    assert list(zip(*(upcoming[side].to_pylist() for side in ("home_team", "away_team")), strict=True)) == [
        ("Sheffield Weds", "Bradford"),
        ("Vallecano", "Alaves"),
    ]
    waiting = real.matches.filter(pc.equal(real.matches["status"], "awaiting_result"))
    assert (upcoming.num_rows, waiting.num_rows) == (real.report.n_upcoming, real.report.n_awaiting) == (2, 65)
    assert pc.min(waiting["kickoff_utc"]).as_py() >= datetime(2026, 8, 13, tzinfo=UTC)
    atletico = waiting.filter(pc.equal(waiting["home_team"], "Ath Madrid"))
    assert atletico["away_team"].to_pylist() == ["Malaga"]


def test_prices_are_whole_and_never_captured_after_kickoff(real: Ingest) -> None:
    table = real.matches
    for book in ("b365", "b365c", "avg", "avgc", "psc"):
        nulls = {table[f"{book}_{side}"].null_count for side in ("home", "draw", "away")}
        assert len(nulls) == 1
    late = pc.greater_equal(table["odds_captured_at"], table["kickoff_utc"])
    assert not pc.any(late).as_py()
    assert table.num_rows - table["b365_home"].null_count > 150_000


def test_edge_cases_folder_names_the_page_and_refuses_rows_of_another_layout() -> None:
    ingest = read_folder(FOLDER / "edge_cases")
    assert ingest.report.faults == {"not_csv_html": 1}
    assert set(ingest.matches["season"].to_pylist()) == {"2024/25"}
    # the second season was pasted below without its header, ten columns wider: nothing tells whose price is whose
    assert ingest.report.skipped == {"row_does_not_fit": 43}


def test_snapshots_of_one_season_are_one_season() -> None:
    ingest = read_folder(FOLDER / "snapshots")
    assert ingest.report.skipped["duplicate_match"] > 300
    assert set(ingest.matches["season"].to_pylist()) == {"2025/26"}
    assert ingest.matches.num_rows < 380


def test_live_line_of_2019_has_its_matches_and_none_to_take(real: Ingest, tmp_path: Path) -> None:
    line = read_feed(sorted((FOLDER / "fonbet" / "live_2019").glob("*.json.gz")))
    assert len(line.matches) >= 30
    pq.write_table(real.matches, tmp_path / "matches.parquet")
    result = import_feed(line, tmp_path / "matches.parquet", datetime(2019, 8, 19, 18, tzinfo=UTC))
    assert set(result.counts()) == {"in_play"}


def test_line_of_october_2023_links_to_the_matches_it_priced(real: Ingest, tmp_path: Path) -> None:
    line = read_feed([FOLDER / "fonbet" / "derived_2023" / "odds_2023-10-03.json.gz"])
    pq.write_table(real.matches, tmp_path / "matches.parquet")
    result = import_feed(line, tmp_path / "matches.parquet", datetime(2023, 10, 3, tzinfo=UTC))
    assert len(result.links) > 700
    assert result.counts()["linked"] >= 300
    ours = dict(zip(real.matches["match_id"].to_pylist(), real.matches["b365_home"].to_pylist(), strict=True))
    priced = [(row["odds_home"], ours[row["match_id"]]) for row in result.odds.to_pylist() if ours[row["match_id"]]]
    # two bookmakers on one match stay close; a wrong link would not
    assert all(0.5 < theirs / bet365 < 2 for theirs, bet365 in priced)
    assert len(priced) > 150


def test_excerpt_of_2026_holds_no_football() -> None:
    line = read_feed([FOLDER / "fonbet" / "line_2026_excerpt" / "events_list_excerpt.json"])
    assert not line.matches


@pytest.fixture(scope="module")
def priced(real: Ingest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Predictions, odds and history of every real match; the market's own chances stand for a model's."""
    folder = tmp_path_factory.mktemp("priced")
    pq.write_table(real.matches, folder / "matches.parquet")
    for name in (PREDICTIONS, ODDS):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    write_predictions(folder / "matches.parquet", market_chances(real.matches), folder / PREDICTIONS, BUILT)
    write_odds(folder / "matches.parquet", folder / ODDS, simulated=False)
    assert extend_history(folder, EarlierHistory(folder), BUILT) == BUILT
    return folder


def market_chances(matches: pa.Table) -> pa.Table:
    columns = [matches[f"avg_{side}"].fill_null(3.0).to_numpy() for side in ("home", "draw", "away")]
    chances = fair(np.column_stack(columns))
    n = len(chances)
    names = {"model_name": "market", "model_version": "1", "model_stage": "walk-forward", "model_run_id": "0"}
    return pa.table(
        {
            "match_id": matches["match_id"],
            "in_sample": np.zeros(n, dtype=bool),
            "predicted_class": chances.argmax(axis=1),
        }
        | {f"proba_{side}": chances[:, i] for i, side in enumerate(("home", "draw", "away"))}
        | {name: [value] * n for name, value in names.items()}
    )


def test_history_holds_prices_from_before_each_match_and_its_closing_prices(priced: Path) -> None:
    quotes = pq.read_table(sorted(priced.glob("history/odds/*/*.parquet")))
    kinds = dict(zip(*(column.to_pylist() for column in quotes["kind"].value_counts().flatten()), strict=True))
    assert kinds["offer"] > 150_000
    assert kinds["closing"] > 40_000
    assert not pc.any(pc.less(quotes["known_at"], quotes["captured_at"])).as_py()
    assert pc.max(quotes["known_at"]).as_py() <= BUILT


async def test_new_year_2025_knows_nothing_of_2025(priced: Path, tmp_path: Path) -> None:
    moment = datetime(2025, 1, 1, 12, tzinfo=UTC)
    snapshot = await asyncio.to_thread(opened, priced, tmp_path)
    async with as_of_snapshot(snapshot, moment) as then:
        ((n, last, late, bets, clv),) = await then.database.fetch(_OF_THEN)
        ((n_now,),) = await snapshot.database.fetch(
            "SELECT count(*) FROM cards WHERE kickoff_utc < TIMESTAMPTZ '2025-01-01'"
        )
    assert n_now <= n <= n_now + 100
    assert last < moment
    assert late == 0
    assert bets > 1000
    # the average of many books against Bet365's price: where that is the better one, it beats the closing line too
    assert -2 < clv < 10
    await asyncio.to_thread(snapshot.database.close)


def opened(folder: Path, home: Path) -> Snapshot:
    """The folder as a snapshot; what the history does not need is made up."""
    settled = settle_matches(folder, datetime.now(UTC), MoneyRules())
    regions = pc.unique(pq.read_table(folder / PREDICTIONS, columns=["region"])["region"]).to_pylist()
    write_roi_tables(settled, regions, folder, BUILT, MoneyRules())
    ids = pq.read_table(folder / PREDICTIONS, columns=["match_id"])
    pq.write_table(ids.append_column("x", pa.array(np.zeros(len(ids), np.float32))), folder / FEATURES)
    write_drift(folder, ["x"], BUILT, simulated=False)
    stamp(folder, now=BUILT, simulated=False, history_until=BUILT)
    return open_snapshot("real", folder, OpenRules(feature_cache=home, query_timeout_s=60))


_OF_THEN = """
SELECT count(*), max(kickoff_utc) FILTER (outcome IS NOT NULL),
    count(*) FILTER (captured_at > TIMESTAMPTZ '2025-01-01 12:00:00Z'), count(profit), 100 * avg(clv)
FROM cards
"""


READ_BY_BOTH = {
    "Date": "Date",
    **{"HomeTeam": "home", "Home": "home", "FTHG": "home_score", "HG": "home_score"},
    **{"FTAG": "away_score", "AG": "away_score"},
    **{book + side: book + side for book in ("B365", "AvgC", "PSC") for side in "HDA"},
}
OURS = ["home_score", "away_score", "b365_home", "avgc_draw", "psc_away"]


def test_an_independent_reader_agrees_cell_by_cell(real: Ingest) -> None:
    """Dates, scores and prices of every season file, against pandas; clubs are left out, for aliases rename them."""
    table = real.matches.select(["kickoff_utc", "source_file", *OURS])
    dates = [kickoff.astimezone(LONDON).date() for kickoff in table["kickoff_utc"].to_pylist()]
    ours: dict[str, Counter[tuple[object, ...]]] = defaultdict(Counter)
    for source, *row in zip(
        table["source_file"].to_pylist(), dates, *(table[name].to_pylist() for name in OURS), strict=True
    ):
        ours[source][tuple(row)] += 1
    reports = {each.path: each for each in real.report.files}
    n_refused = 0
    for path in sorted([*FOLDER.glob("main/*/*.csv.gz"), *FOLDER.glob("new/*.csv.gz")]):
        report = reports[path.relative_to(FOLDER).as_posix()]
        differing = read_independently(path) - ours[report.path]
        # pandas takes prices that are no book, as 3.8, 3.5 and 22 for one match; they are refused and counted
        refused = report.repaired["bad_odds_triple"] + report.repaired["odds_contradict_others"]
        assert differing.total() <= refused, (report.path, list(differing)[:3])
        n_refused += differing.total()
    assert n_refused < 50


def read_independently(path: Path) -> Counter[tuple[object, ...]]:
    """Return the date, the score and three prices of each row of a published file as pandas reads them."""
    raw = gzip.decompress(path.read_bytes())
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("cp1252")
    frame = pd.read_csv(
        io.StringIO(text),
        dtype=str,
        keep_default_na=False,
        usecols=lambda name: name.strip() in READ_BY_BOTH,
        on_bad_lines="skip",
        index_col=False,
    ).rename(columns=lambda name: READ_BY_BOTH[name.strip()])
    frame = frame[frame["home"].fillna("").str.strip() != ""]
    day_first = frame["Date"].str.strip()
    days = pd.to_datetime(day_first, format="%d/%m/%Y", errors="coerce").fillna(
        pd.to_datetime(day_first, format="%d/%m/%y", errors="coerce")
    )
    goals = [numbers(frame, name) for name in ("home_score", "away_score")]
    prices = [book_price(frame, *which) for which in (("B365", "H"), ("AvgC", "D"), ("PSC", "A"))]
    return Counter(zip(days.dt.date.tolist(), *goals, *prices, strict=True))


def numbers(frame: pd.DataFrame, name: str) -> list[float | None]:
    if name not in frame:
        return [None] * len(frame)
    cells = pd.to_numeric(frame[name].str.strip(), errors="coerce")
    return [None if np.isnan(cell) else float(cell) for cell in cells]


def book_price(frame: pd.DataFrame, book: str, side: str) -> list[float | None]:
    """Return the price of one side where the bookmaker has all three."""
    triples = list(zip(*(numbers(frame, book + each) for each in "HDA"), strict=True))
    return [None if None in triple else triple["HDA".index(side)] for triple in triples]
