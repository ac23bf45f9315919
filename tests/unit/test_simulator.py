"""The simulated world: the same twice, read by the real reader, and football-like."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from worker.pipeline.ingest.reader import Ingest, read_folder
from worker.pipeline.simulation.countries import COUNTRIES
from worker.pipeline.simulation.simulated_country import draw_scores, outcome_chances, pairings, quote, score_chances
from worker.pipeline.simulation.simulator import simulate

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated folder."""
    path = tmp_path_factory.mktemp("simulated")
    simulate(path, seed=7, now=NOW)
    return path


@pytest.fixture(scope="module")
def world(folder: Path) -> Ingest:
    """The folder as the reader sees it."""
    return read_folder(folder, now=NOW)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_same_seed_and_now_write_the_same_files(folder: Path, tmp_path: Path) -> None:
    simulate(tmp_path, seed=7, now=NOW)
    assert contents(tmp_path) == contents(folder)


def test_other_seed_is_another_world(folder: Path, tmp_path: Path) -> None:
    simulate(tmp_path, seed=8, now=NOW, n_seasons=1)
    assert contents(tmp_path)["main/2627/AV1.csv"] != contents(folder)["main/2627/AV1.csv"]


def test_folder_says_it_is_simulated(folder: Path) -> None:
    source = json.loads((folder / "source.json").read_text())
    assert (source["source"], source["simulated"], source["seed"]) == ("simulated", True, 7)


def test_reader_takes_every_row_as_it_is(world: Ingest) -> None:
    report = world.report
    assert not report.faults
    assert not report.skipped
    assert not report.repaired
    assert not report.unknown_teams
    assert report.rows_in == world.matches.num_rows


def test_size_and_regions(world: Ingest) -> None:
    assert 10_000 < world.matches.num_rows < 14_000
    assert len(set(world.matches["region"].to_pylist())) == len(COUNTRIES) == 8
    assert len(set(world.matches["season"].to_pylist())) == 10  # five over two years, five of one


def test_nothing_after_now_has_a_result_and_nothing_before_is_coming(world: Ingest) -> None:
    rows = world.matches.select(["kickoff_utc", "status"]).to_pylist()
    assert max(row["kickoff_utc"] for row in rows if row["status"] == "finished") < NOW
    coming = [row["kickoff_utc"] for row in rows if row["status"] == "upcoming"]
    assert 80 <= len(coming) <= 150
    assert min(coming) > NOW - timedelta(hours=2)


@pytest.mark.parametrize("month", range(1, 13))
def test_every_division_has_matches_to_come_all_year_round(tmp_path: Path, month: int) -> None:
    now = datetime(2026, month, 28, 18, tzinfo=UTC)
    simulate(tmp_path, seed=1, now=now, n_seasons=1)
    table = read_folder(tmp_path, now=now).matches.to_pandas()
    divisions = {league.division for country in COUNTRIES for league in country.leagues}
    assert set(table[table.status == "upcoming"].division) == divisions


def test_prices_are_captured_before_kickoff_and_not_after_now(world: Ingest) -> None:
    table = world.matches.to_pandas()
    priced = table[table.odds_captured_at.notna()]
    assert (priced.odds_captured_at < priced.kickoff_utc).all()
    assert (priced.odds_captured_at <= NOW).all()
    share = table[table.division == "AV1"].b365_home.isna().mean()
    assert 0.05 < share < 0.15


def test_bookmakers_know_more_the_later_they_speak(world: Ingest) -> None:
    table = world.matches.to_pandas()
    played = table[table.outcome.notna() & table.b365_home.notna()]
    losses = {}
    for book in ("b365", "avgc"):
        inverse = 1 / played[[f"{book}_home", f"{book}_draw", f"{book}_away"]].to_numpy()
        chances = inverse / inverse.sum(axis=1, keepdims=True)
        losses[book] = -np.log(chances[np.arange(len(played)), played.outcome.astype(int)]).mean()
    shares = played.outcome.value_counts(normalize=True)
    base = -(shares * np.log(shares)).sum()
    assert losses["avgc"] < losses["b365"] < base - 0.05
    assert shares[0] > shares[2] > shares[1] > 0.2


def test_score_chances_sum_to_one_and_draws_exceed_independence() -> None:
    rates = np.array([1.6, 0.9]), np.array([1.1, 1.4])
    scores = score_chances(*rates)
    np.testing.assert_allclose(scores.sum(axis=(1, 2)), 1)
    outcomes = outcome_chances(scores)
    np.testing.assert_allclose(outcomes.sum(axis=1), 1)
    assert outcomes[0, 0] > outcomes[0, 2]
    assert outcomes[1, 2] > outcomes[1, 0]
    assert scores[0, 0, 0] > np.exp(-2.7)


def test_drawn_scores_follow_the_chances() -> None:
    scores = score_chances(np.full(40_000, 1.5), np.full(40_000, 1.1))
    home, away = draw_scores(scores, np.random.default_rng(3))
    assert home.mean() == pytest.approx(1.5, abs=0.03)
    assert (home == away).mean() == pytest.approx(outcome_chances(scores[:1])[0, 1], abs=0.01)


def test_quoted_prices_carry_the_margin() -> None:
    chances = np.random.default_rng(1).dirichlet((4, 3, 3), 2_000)
    prices = quote(chances, noise=0.0, margin=0.055, rng=np.random.default_rng(1))
    assert (1 / prices).sum(axis=1).mean() == pytest.approx(1.055, abs=0.01)
    assert (prices > 1).all()


@pytest.mark.parametrize("size", [12, 14, 16, 18])
def test_double_round_robin_has_each_pair_once_at_either_ground(size: int) -> None:
    plan = pairings(size)
    assert plan.shape == (2 * (size - 1), size // 2, 2)
    pairs = {(int(home), int(away)) for home, away in plan.reshape(-1, 2)}
    assert len(pairs) == size * (size - 1)
    assert all(len(set(each.ravel().tolist())) == size for each in plan)


def test_now_must_say_its_time_zone(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="time zone"):
        simulate(tmp_path, seed=1, now=datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point
