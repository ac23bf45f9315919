from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.artifacts.contract import ODDS, PREDICTIONS
from app.domain.vocabulary import Staking
from app.store.money import MoneyRules
from tests.support.build_artifacts import FIRST_ID, NOW, Edit, write_artifacts
from worker.pipeline.output.value_bets import SettledMatches, settle_matches


def settled(folder: Path, **edit: Edit) -> SettledMatches:
    names = {"predictions": PREDICTIONS, "odds": ODDS}
    write_artifacts(folder, odds_share=1.0, edit={names[name]: change for name, change in edit.items()})
    return settle_matches(folder, NOW, MoneyRules())


def replaced(name: str, values: list[object]) -> Edit:
    return lambda table: table.set_column(
        table.column_names.index(name), name, pa.array(values, table.schema.field(name).type)
    )


def test_only_finished_matches_predicted_out_of_sample_count(tmp_path: Path) -> None:
    found = settled(tmp_path)
    assert found.match_id.tolist() == [FIRST_ID + i for i in range(6, 48)]


def test_a_price_from_after_the_kickoff_is_no_price(tmp_path: Path) -> None:
    def late(odds: pa.Table) -> pa.Table:
        times = [at + timedelta(days=2) if i == 20 else at for i, at in enumerate(odds["captured_at"].to_pylist())]
        return replaced("captured_at", times)(odds)

    assert FIRST_ID + 20 not in settled(tmp_path, odds=late).match_id


def test_the_bet_is_on_the_outcome_with_the_best_edge_at_its_price(tmp_path: Path) -> None:
    found = settled(tmp_path)
    predictions = {row["match_id"]: row for row in pq.read_table(tmp_path / PREDICTIONS).to_pylist()}
    odds = {row["match_id"]: row for row in pq.read_table(tmp_path / ODDS).to_pylist()}
    for i, match_id in enumerate(found.match_id.tolist()):
        sides = ("home", "draw", "away")
        edges = [predictions[match_id][f"proba_{s}"] * odds[match_id][f"odds_{s}"] - 1 for s in sides]
        best = int(np.argmax(edges))
        assert found.edge[i] == pytest.approx(edges[best])
        assert found.odds[i] == odds[match_id][f"odds_{sides[best]}"]
        assert found.won[i] == (predictions[match_id]["outcome"] == best)


def test_bets_are_those_at_or_above_the_threshold(tmp_path: Path) -> None:
    found = settled(tmp_path)
    bets = found.bets(0.05)
    assert 0 < len(bets) < len(found)
    assert (bets.edge >= 0.05).all()


def test_matches_come_in_the_order_of_their_end(tmp_path: Path) -> None:
    assert (np.diff(settled(tmp_path).settled_us) >= 0).all()


def test_quarter_kelly_stakes_are_small_and_capped(tmp_path: Path) -> None:
    bets = settled(tmp_path).bets(0.05)
    stake = bets.stake(Staking.KELLY, MoneyRules())
    assert ((stake > 0) & (stake <= 0.05)).all()
    assert stake[0] == pytest.approx(min(0.25 * bets.edge[0] / (bets.odds[0] - 1), 0.05))


def test_closing_line_value_is_known_where_closing_prices_are(tmp_path: Path) -> None:
    """A price taken that the market's fair closing probability makes worth more than a unit has a value above 0."""

    def closing(odds: pa.Table) -> pa.Table:
        for side in ("home", "draw", "away"):
            prices: list[object] = [3.0 if i == 10 else None for i in range(len(odds))]
            odds = replaced(f"closing_{side}", prices)(odds)
        return odds

    found = settled(tmp_path, odds=closing)
    at = int(np.flatnonzero(found.match_id == FIRST_ID + 10)[0])
    assert found.closing_edge[at] == pytest.approx(found.odds[at] / 3 - 1)
    assert np.isnan(np.delete(found.closing_edge, at)).all()


def test_teams_with_too_little_history_are_not_judged(tmp_path: Path) -> None:
    def few(predictions: pa.Table) -> pa.Table:
        home = pa.array([4 if i == 20 else 5 for i in range(len(predictions))], pa.int16())
        away = pa.array([None if i == 21 else 12 for i in range(len(predictions))], pa.int16())
        return predictions.append_column("n_history_home", home).append_column("n_history_away", away)

    found = settled(tmp_path, predictions=few).match_id
    assert FIRST_ID + 20 not in found
    # a count that nobody gave rules nothing out
    assert FIRST_ID + 21 in found
