"""The consensus as the pipeline fits it, where the truth is known, and where there is nothing to win."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from app.artifacts.contract import CONSENSUS, PREDICTIONS, PRICES, ConsensusFile, read_consensus
from app.domain.promise import Promise
from app.domain.vocabulary import EdgeFrom
from app.store.money import MoneyRules
from tests.support.build_market import NOISE, write_market
from worker.pipeline.output.consensus_file import write_consensus
from worker.pipeline.output.value_bets import settle_matches
from worker.pipeline.study import BASE_RATES, BEST_NAMED, EVER, MODEL, as_dict, main, read_study
from worker.pipeline.study import CONSENSUS as POOLED

NOW = datetime(2026, 8, 20, 12, tzinfo=UTC)


def fitted(folder: Path, **options: object) -> ConsensusFile:
    return write_consensus(write_market(folder, **options), None, NOW)  # type: ignore[arg-type]


def promises(folder: Path) -> dict[tuple[str, str], Promise]:
    return {(row.chances, row.price): row.promise for row in read_study(folder, EVER).compare_promises(0.0)}


def test_the_sharpest_book_weighs_most_and_each_season_knows_only_the_past(tmp_path: Path) -> None:
    file = fitted(tmp_path)
    assert [window.since.year for window in file.windows] == [2022, 2023, 2024, 2025]
    assert all(window.since == window.known_at for window in file.windows)
    last = file.windows[-1]
    assert set(last.books) == set(NOISE)
    assert last.books["Sharp"] > 3 * max(last.books[name] for name in ("Dull", "Dull too"))
    assert last.market > 0.7 > last.model
    assert all(score.log_loss_consensus < score.log_loss_model for score in file.scores)


def test_few_matches_fit_little(tmp_path: Path) -> None:
    (first, *_) = fitted(tmp_path, n=2_000).windows
    assert (first.model, first.market, dict(first.books)) == (0.0, 1.0, {})
    last = fitted(tmp_path / "more", n=4_000).windows[-1]
    assert set(last.books.values()) == {1.0}  # enough for the exponents, not for the books


def test_what_comes_later_changes_no_earlier_weights(tmp_path: Path) -> None:
    whole = fitted(tmp_path)
    cut = whole.windows[1].since
    table = pq.read_table(tmp_path / PREDICTIONS)
    # and one match of later, so that the seasons are the same
    kept = [at < cut or i == len(table) - 1 for i, at in enumerate(table["kickoff_utc"].to_pylist())]
    pq.write_table(table.filter(kept), tmp_path / PREDICTIONS)
    assert write_consensus(tmp_path, None, NOW).windows[:2] == pytest.approx(whole.windows[:2])


def test_published_weights_stay_and_changed_ones_count_from_now(tmp_path: Path) -> None:
    first = fitted(tmp_path / "first")
    again = write_consensus(write_market(tmp_path / "again"), tmp_path / "first", NOW)
    assert again.windows == first.windows
    other = write_consensus(write_market(tmp_path / "other", seed=1), tmp_path / "first", NOW)
    assert other.windows[:4] == first.windows
    assert {window.known_at for window in other.windows[4:]} == {NOW}


def test_true_edges_keep_their_promise_and_those_of_a_dull_model_do_not(tmp_path: Path) -> None:
    fitted(tmp_path)
    found = promises(tmp_path)
    pooled, model = found[POOLED, BEST_NAMED], found[MODEL, BEST_NAMED]
    assert pooled.slope_low is not None
    assert pooled.slope_high is not None
    assert pooled.slope_low < 1 < pooled.slope_high
    assert model.slope_high is not None
    assert model.slope_high < 0.8


@pytest.mark.parametrize("results", ["shuffled", "shifted"])
def test_results_that_nobody_can_know_are_not_known(tmp_path: Path, results: str) -> None:
    true, nothing = fitted(tmp_path / "true").windows[-1], fitted(tmp_path / results, results=results).windows[-1]
    # the prices say nothing about such results, and the weights find that out
    assert nothing.market + nothing.model < true.market + true.model - 0.1
    lost = {row.forecaster: row.log_loss for row in read_study(tmp_path / results, EVER).compare_forecasts()}
    assert min(lost[POOLED], lost[MODEL]) > lost[BASE_RATES]


@pytest.mark.parametrize("forecasts", ["shuffled", "shifted"])
def test_forecasts_of_other_matches_leave_no_profit(tmp_path: Path, forecasts: str) -> None:
    file = fitted(tmp_path, forecasts=forecasts)
    assert file.windows[-1].model < 0.05
    found = promises(tmp_path)
    alone, pooled = found[MODEL, BEST_NAMED], found[POOLED, BEST_NAMED]
    assert alone.slope_high is not None
    assert alone.slope_high < 0.5
    assert pooled.slope_high is not None
    assert pooled.slope_high > 1 > (pooled.slope_low or 0)  # which the bookmakers have to themselves
    bets = settle_matches(tmp_path, NOW, MoneyRules(edge_from=EdgeFrom.MODEL)).bets(0.05)
    profit = bets.profit(np.ones(len(bets)))
    assert len(bets) > 5_000
    assert profit.mean() + 2 * profit.std() / np.sqrt(len(profit)) < bets.edge.mean() / 4
    assert profit.mean() - 2 * profit.std() / np.sqrt(len(profit)) < 0


def test_prices_from_after_the_kickoff_change_nothing(tmp_path: Path) -> None:
    honest = fitted(tmp_path / "honest", n=6_000)
    knowing = fitted(tmp_path / "knowing", n=6_000, late_prices=True)
    assert "Late" in pq.read_table(tmp_path / "knowing" / PRICES)["bookmaker"].to_pylist()
    assert knowing == honest
    first, second = (settle_matches(tmp_path / name, NOW, MoneyRules()) for name in ("honest", "knowing"))
    assert first.edge.tolist() == second.edge.tolist()
    assert promises(tmp_path / "honest") == promises(tmp_path / "knowing")


def test_the_command_prints_all_tables_and_writes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fitted(tmp_path)
    assert main([str(tmp_path), "--json", str(tmp_path / "figures.json")]) == 0
    said = capsys.readouterr().out
    for words in ("consensus", "Sharp", "base rates", "Promised against got", BEST_NAMED[:12]):
        assert words in said
    figures = as_dict(read_study(tmp_path, EVER))
    by_name = {row["forecaster"]: row for row in figures["forecasts"] if row["group"] == "all"}
    assert by_name["Bet365"]["difference"] is None
    assert by_name["Sharp"]["difference_high"] < 0
    assert by_name["model"]["difference_low"] > 0
    assert (tmp_path / "figures.json").is_file()


def test_a_folder_that_cannot_be_read_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nowhere")]) == 1
    assert "Nothing evaluated" in capsys.readouterr().err


def test_broken_weights_of_an_earlier_build_are_left_behind(tmp_path: Path) -> None:
    write_market(tmp_path / "new", n=2_000)
    (tmp_path / "old" / "predictions").mkdir(parents=True)
    (tmp_path / "old" / CONSENSUS).write_text("{")
    assert write_consensus(tmp_path / "new", tmp_path / "old", NOW).windows
    with pytest.raises(ValueError, match="JSON"):
        read_consensus(tmp_path / "old")
