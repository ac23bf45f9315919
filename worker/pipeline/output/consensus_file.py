"""Write consensus.json: the weights of the consensus, season by season, and how it did.

Weights that an earlier build has published stay: what was said of an earlier time stays what it was. What a build says
otherwise of a season counts from now.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from app.artifacts import contract
from app.artifacts.contract import ConsensusFile, ConsensusScore, ConsensusWeights
from app.domain import consensus
from app.domain.consensus import PoolWeights
from app.domain.scoring import losses
from worker.pipeline.training.pool_fitting import PricedMatches, fit_windows, read_priced_matches, season_starts

_CLOSE = 1e-6  # weights that differ by less are the same, fitted again


def write_consensus(staged: Path, earlier: Path | None, now: datetime) -> ConsensusFile:
    """Fit the weights on the staged predictions and prices, keep those of the earlier folder, and write all.

    Args:
        staged: the folder with the new predictions and prices.
        earlier: the folder that they will replace, where it is of the same world.
        now: from when weights count that an earlier build said otherwise.
    """
    matches = read_priced_matches(staged / contract.PREDICTIONS, staged / contract.PRICES)
    fitted = list(fit_windows(matches, season_starts(matches)))
    windows = list(_joined(_read_earlier(earlier), fitted, now))
    current = consensus.weights_at(windows, now)[1:]
    file = ConsensusFile(
        windows=tuple(
            ConsensusWeights(
                since=each.since,
                known_at=each.known_at,
                n=each.n,
                model=each.model,
                market=each.market,
                books=dict(each.books),
            )
            for each in windows
        ),
        scores=tuple(_scores(matches, current)),
    )
    path = staged / contract.CONSENSUS
    path.write_text(file.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return file


def _read_earlier(folder: Path | None) -> Sequence[PoolWeights]:
    if folder is not None:
        with suppress(OSError, ValueError):
            return contract.read_consensus(folder)
    return ()


def _joined(earlier: Sequence[PoolWeights], fitted: Sequence[PoolWeights], now: datetime) -> Iterator[PoolWeights]:
    newest = {each.since: each for each in sorted(earlier, key=lambda each: each.known_at)}
    yield from earlier
    for each in fitted:
        before = newest.get(each.since)
        if before is None:
            # of a season that has begun since the last build, or of all at the first
            known_at = each.since if not earlier or each.since > max(newest) else now
            yield PoolWeights(each.since, known_at, each.n, each.model, each.market, each.books)
        elif not _is_same(before, each):
            yield PoolWeights(each.since, now, each.n, each.model, each.market, each.books)


def _is_same(one: PoolWeights, other: PoolWeights) -> bool:
    if (one.n, set(one.books)) != (other.n, set(other.books)):
        return False
    pairs = [(one.model, other.model), (one.market, other.market)]
    pairs += [(one.books[name], other.books[name]) for name in one.books]
    return all(abs(first - second) <= _CLOSE for first, second in pairs)


def _scores(matches: PricedMatches, weights: Sequence[PoolWeights]) -> Iterator[ConsensusScore]:
    """The log-loss of model, market and consensus in the season of each weights, on matches that have all three."""
    ends = [*(each.since for each in weights[1:]), datetime.max.replace(tzinfo=UTC) - timedelta(days=1)]
    for each, end in zip(weights, ends, strict=True):
        season = matches.between(each.since, end)
        market = season.market(np.array(each.of_books(season.books)))
        known = ~np.isnan(market).any(axis=1) & ~np.isnan(season.model).any(axis=1)
        n = int(known.sum())
        if n:
            ones = np.ones(n)
            pooled = consensus.pool(season.model[known], market[known], each.model * ones, each.market * ones)
            forecasts = (season.model[known], market[known], pooled)
            means = [float(losses(forecast, season.outcome[known]).log_loss.mean()) for forecast in forecasts]
            until = datetime.fromtimestamp(int(season.kickoff_us[-1]) / 1e6, UTC)
            yield ConsensusScore(
                since=each.since,
                until=until,
                n=n,
                log_loss_model=means[0],
                log_loss_market=means[1],
                log_loss_consensus=means[2],
            )
