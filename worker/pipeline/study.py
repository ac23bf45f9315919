"""`scripts/evaluate`: how good forecasts are, and whether the edges that follow from them mean what they say.

Of a built folder it compares the model, every bookmaker, the market and the consensus; of result files alone, the
bookmakers. Matches count that are over and that nobody knew: out of sample, at sound prices from before kick-off.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from app.artifacts import contract
from app.domain import prices
from app.domain.consensus import PoolWeights, weights_at
from app.domain.odds import best_edge, edge, fair
from app.domain.outcomes import OUTCOMES, Flags, Floats
from app.domain.promise import Promise, compare_promise
from app.domain.scoring import losses
from app.domain.staking import settle
from app.domain.statistics import Estimate, difference
from app.settings import Settings
from app.store import tables
from app.store.database import Connection, DatabaseError, fetch_columns, open_connection
from app.store.market import encode_names, read_market
from app.store.money import fill_money
from worker.pipeline.ingest.reader import read_folder

MODEL, MARKET, CONSENSUS, BASE_RATES = "model", "market", "consensus", "base rates"
BEST_NAMED = "best of the named bookmakers"
ALL = "all"
YARDSTICK = "Bet365"  # the book that most others are compared with
THRESHOLD = 0.02
_WIDTH = 130
EVER = datetime(1990, 1, 1, tzinfo=UTC)
_FEWEST = 1000  # matches of a forecaster or a group below which a row says nothing
_OVER = "status = 'finished' AND outcome IS NOT NULL AND kickoff_utc >= getvariable('since')"
# the columns of predictions.parquet, and the tier of its division where the pipeline wrote one
_OF_FOLDER = f"CREATE VIEW predictions AS SELECT {{columns}} FROM predictions_of_file WHERE {_OVER}"  # noqa: S608
# results alone: nobody predicted them
_OF_RESULTS = f"""
CREATE VIEW predictions AS
SELECT *, true AS in_sample, NULL::DOUBLE AS proba_home, NULL::DOUBLE AS proba_draw, NULL::DOUBLE AS proba_away
FROM matches WHERE {_OVER}
"""  # noqa: S608
_MATCHES = """
SELECT match_id, epoch_us(kickoff_utc) AS kickoff_us, outcome, tier, in_sample, proba_home, proba_draw, proba_away
FROM predictions ORDER BY kickoff_utc, match_id
"""
_BOOKS = """
SELECT o.match_id, bookmaker, odds_home, odds_draw, odds_away
FROM prices o JOIN predictions USING (match_id) WHERE kind = 'offer' AND captured_at <= kickoff_utc
"""


@dataclass(frozen=True, slots=True)
class ForecastComparison:
    """The log-loss of a forecaster on n matches of a group, and how far it lies above the yardstick's on the same."""

    group: str
    forecaster: str
    n: int
    log_loss: float
    yardstick: str | None
    difference: float | None  # below zero: better than the yardstick
    difference_low: float | None  # 95 %, paired
    difference_high: float | None


@dataclass(frozen=True, slots=True)
class PromiseRow:
    """Bets on the best outcome by one forecaster's probabilities at one price."""

    chances: str
    price: str
    promise: Promise


@dataclass(frozen=True, slots=True)
class Study:
    """Finished matches by kick-off, (n,): probabilities and prices by name, (n, 3) each, NaN where there are none."""

    kickoff_us: npt.NDArray[np.int64]
    outcome: npt.NDArray[np.int64]
    group: npt.NDArray[np.str_]
    chances: Mapping[str, Floats]
    odds: Mapping[str, Floats]

    def select_since(self, moment: datetime) -> "Study":
        """Return the matches that began then or later."""
        first = int(np.searchsorted(self.kickoff_us, int(moment.timestamp()) * 1_000_000))
        parts = [{name: values[first:] for name, values in each.items()} for each in (self.chances, self.odds)]
        return Study(self.kickoff_us[first:], self.outcome[first:], self.group[first:], *parts)

    def compare_forecasts(self) -> Iterator[ForecastComparison]:
        """Yield every forecaster beside the yardstick, on all matches and by group of leagues."""
        lost = {name: self._losses(chances) for name, chances in self.chances.items()}
        yardstick = lost.get(YARDSTICK)
        for group in dict.fromkeys((ALL, *np.unique(self.group).tolist())):
            mine = np.ones(len(self.outcome), np.bool_) if group == ALL else self.group == group
            for name, values in lost.items():
                known = mine & ~np.isnan(values)
                if yardstick is not None:
                    known &= ~np.isnan(yardstick)
                if known.sum() >= _FEWEST:
                    apart = difference(values[known], yardstick[known]) if yardstick is not None else None
                    yield _comparison(group, name, values[known], None if name == YARDSTICK else apart)

    def _losses(self, chances: Floats) -> Floats:
        known = ~np.isnan(chances).any(axis=1)
        found = np.full(len(chances), np.nan)
        found[known] = losses(chances[known], self.outcome[known]).log_loss
        return found

    def compare_promises(self, threshold: float = THRESHOLD) -> Iterator[PromiseRow]:
        """Yield what edges promised and what came, by whose probabilities they are and at whose price."""
        sources = (MODEL, prices.MARKET_AVERAGE, "Pinnacle", MARKET, CONSENSUS)
        for source in (name for name in sources if name in self.chances):
            for price, odds in self.odds.items():
                best, edges = best_edge(edge(self.chances[source], odds))
                known = best >= 0
                if known.sum() >= _FEWEST:
                    taken = odds[known, best[known]]
                    profit = settle(np.ones(len(taken)), taken, best[known] == self.outcome[known])
                    yield PromiseRow(source, price, compare_promise(edges[known], profit, threshold))


def _comparison(group: str, name: str, values: Floats, apart: Estimate | None) -> ForecastComparison:
    ends = (YARDSTICK, apart.value, apart.low, apart.high) if apart else (None, None, None, None)
    return ForecastComparison(group, name, len(values), float(values.mean()), *ends)


def read_study(folder: Path, since: datetime) -> Study:
    """Read the matches of an artifacts folder from then on."""
    with closing(open_connection()) as connection:
        connection.execute("SET VARIABLE since = $since", {"since": since})
        rows = tables.parquet(connection, [folder / contract.PREDICTIONS], {})
        rows.create_view("predictions_of_file")
        columns = [column.select(name, rows.columns) for name, column in tables.PREDICTIONS.items()]
        tier = "tier" if "tier" in rows.columns else "NULL::INTEGER AS tier"
        connection.execute(_OF_FOLDER.format(columns=", ".join([*columns, tier])))
        tables.open_prices(connection, folder)
        return _study(connection, contract.read_consensus(folder))


def read_result_files(data: Path, since: datetime) -> Study:
    """Read result files: what the bookmakers of these say, without any model."""
    ingest = read_folder(data)
    with closing(open_connection()) as connection:
        connection.execute("SET VARIABLE since = $since", {"since": since})
        connection.register("matches", ingest.matches)
        connection.register("prices", ingest.prices)
        connection.execute(_OF_RESULTS)
        return _study(connection, ())


def _study(connection: Connection, weights: Sequence[PoolWeights]) -> Study:
    found = fetch_columns(connection, _MATCHES)
    ids, kickoff_us = np.asarray(found["match_id"], np.int64), np.asarray(found["kickoff_us"], np.int64)
    outcome, unseen = np.asarray(found["outcome"], dtype=np.int64), ~np.asarray(found["in_sample"], dtype=np.bool_)
    # what a model says of a match that it has seen is no forecast
    model = np.column_stack([np.where(unseen, fill_money(found, f"proba_{side}"), np.nan) for side in OUTCOMES])
    market = read_market(connection, ids, kickoff_us, weights_at(weights, datetime.now(UTC)))
    books = _read_books(connection, ids, market.middle)
    chances = {name: fair(odds) for name, odds in books.items()}
    if unseen.any():
        chances[MODEL] = model
    if books:
        chances[MARKET] = market.probabilities
    if weights:
        chances[CONSENSUS] = np.where(unseen[:, None], market.pool(model), np.nan)
    chances[BASE_RATES] = _base_rates(outcome)
    named = {name: odds for name, odds in books.items() if name in {YARDSTICK, prices.MARKET_BEST}}
    return Study(
        kickoff_us, outcome, _groups(fill_money(found, "tier")), chances, {BEST_NAMED: market.best_odds, **named}
    )


def _read_books(connection: Connection, ids: npt.NDArray[np.int64], middle: Floats) -> dict[str, Floats]:
    """The sound prices of each bookmaker, (n, 3), NaN where it has none."""
    rows = connection.sql(_BOOKS).to_arrow_table()
    by_id = np.argsort(ids)
    place = by_id[np.searchsorted(ids, rows["match_id"].to_numpy(), sorter=by_id)]
    odds = np.column_stack([rows[f"odds_{side}"].to_numpy() for side in OUTCOMES])
    sound = prices.stands_with(odds, middle[place])
    names, code = encode_names(rows["bookmaker"])
    books = {}
    for number, name in enumerate(names):
        mine: Flags = sound & (code == number)
        books[name] = np.full((len(ids), 3), np.nan)
        books[name][place[mine]] = odds[mine]
    return dict(sorted(books.items()))


def _base_rates(outcome: npt.NDArray[np.int64]) -> Floats:
    """How often each outcome came in the matches before: one forecast for all of a moment."""
    seen = np.cumsum(np.eye(3)[outcome], axis=0) - np.eye(3)[outcome] + np.array([45.0, 27.0, 28.0])
    return np.asarray(seen / seen.sum(axis=1, keepdims=True), dtype=np.float64)


_TIERS = {1: "top divisions", 2: "second divisions"}


def _groups(tier: Floats) -> npt.NDArray[np.str_]:
    names = [ALL if value != value else _TIERS.get(int(value), "lower divisions") for value in tier]  # noqa: PLR0124
    return np.asarray(names, dtype=np.str_)


def as_dict(study: Study, forecasts_since: datetime = EVER) -> dict[str, Any]:
    """All tables, ready for JSON; forecasts are compared on the matches from `forecasts_since` on."""
    promises = [
        {"chances": row.chances, "price": row.price, **asdict(row.promise), "is_kept": row.promise.is_kept}
        for row in study.compare_promises()
    ]
    forecasts = study.select_since(forecasts_since).compare_forecasts()
    return {"forecasts": [asdict(row) for row in forecasts], "promises": promises}


def print_study(console: Console, study: Study, *, forecasts_since: datetime = EVER, is_short: bool = False) -> None:
    """Print the tables; in short, without single ranges and without edges from one bookmaker."""
    rows = list(study.select_since(forecasts_since).compare_forecasts())
    for group in dict.fromkeys(row.group for row in rows):
        console.print(_forecast_table(group, [row for row in rows if row.group == group]))
    promises = list(study.compare_promises())
    chosen = [row for row in promises if row.chances in {MODEL, CONSENSUS}] if is_short else promises
    console.print(_promise_table(chosen or promises))
    if not is_short:
        for row in promises:
            console.print(_bin_table(row))
    for row in promises:
        if row.chances == CONSENSUS and not row.promise.is_kept:
            console.print(f"The edges of the consensus do not keep their promise at {row.price}.", style="bold red")


def _forecast_table(group: str, rows: Sequence[ForecastComparison]) -> Table:
    table = Table(title=f"Log-loss, {group} matches; smaller is better", title_justify="left")
    table.add_column("forecaster", no_wrap=True)
    for name in ("n", "log-loss", f"less {YARDSTICK}'s on the same (95 %)"):
        table.add_column(name, justify="right")
    for row in rows:
        apart = (
            "" if row.difference is None else _interval(row.difference, row.difference_low, row.difference_high, "+.4f")
        )
        table.add_row(row.forecaster, f"{row.n:,}", f"{row.log_loss:.4f}", apart)
    return table


def _interval(value: float | None, low: float | None, high: float | None, form: str) -> str:
    if value is None:
        return ""
    return f"{value:{form}}" if low is None or high is None else f"{value:{form}} ({low:{form}} to {high:{form}})"


def _promise_table(rows: Sequence[PromiseRow]) -> Table:
    table = Table(title="Promised against got: one unit on the best outcome of each match", title_justify="left")
    for name in ("fair probability from", "price"):
        table.add_column(name)
    for name in ("n", "slope (95 %)", f"n at {THRESHOLD:.0%} or more", "promised", "got (95 %)", "kept"):
        table.add_column(name, justify="right")
    for row in rows:
        found = row.promise
        table.add_row(
            row.chances,
            row.price,
            f"{found.n:,}",
            _interval(found.slope, found.slope_low, found.slope_high, ".2f"),
            f"{found.n_value:,}",
            _interval(found.value_promised, None, None, "+.1%"),
            _interval(found.value_got, found.value_low, found.value_high, "+.1%"),
            "yes" if found.is_kept else "no",
        )
    return table


def _bin_table(row: PromiseRow) -> Table:
    table = Table(title=f"{row.chances} at {row.price}, by edge", title_justify="left")
    for name in ("edge", "n", "promised", "got (95 %)"):
        table.add_column(name, justify="right")
    for each in row.promise.bins:
        low = "below" if each.low is None else f"{each.low:+.0%} to"
        high = "and more" if each.high is None else f"{each.high:+.0%}"
        got = _interval(each.got, each.got_low, each.got_high, "+.1%")
        table.add_row(f"{low} {high}", f"{each.n:,}", f"{each.promised:+.1%}", got)
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate a folder as the command line says; 1 when it cannot be read."""
    parser = argparse.ArgumentParser(prog="scripts/evaluate", description=(__doc__ or "").partition(":")[2].strip())
    source = parser.add_mutually_exclusive_group()
    source.add_argument("artifacts", nargs="?", type=Path, help="artifacts folder (default: ARTIFACTS_URI)")
    source.add_argument("--data", type=Path, help="folder of result files: their bookmakers alone, without a build")
    parser.add_argument("--since", type=_day, default=EVER, help="first day, YYYY-MM-DD")
    parser.add_argument("--json", type=Path, help="file to write all figures to")
    chosen = parser.parse_args(argv)
    folder = chosen.artifacts or Path(Settings().artifacts_uri)
    console = Console()
    console.width = max(console.width, _WIDTH)  # a file has no width of its own
    try:
        study = read_result_files(chosen.data, chosen.since) if chosen.data else read_study(folder, chosen.since)
    except (OSError, ValueError, pa.ArrowException, DatabaseError) as error:
        Console(stderr=True).print(f"Nothing evaluated: {error}", markup=False, soft_wrap=True)
        return 1
    print_study(console, study)
    if chosen.json:
        chosen.json.write_text(json.dumps(as_dict(study), indent=1) + "\n", encoding="utf-8")
    return 0


def _day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


if __name__ == "__main__":
    sys.exit(main())
