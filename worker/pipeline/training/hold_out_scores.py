"""How good the models are on matches none of them has seen, beside yardsticks on the same matches."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from app.domain import odds
from app.domain.outcomes import OUTCOMES as SIDES
from app.domain.scoring import score
from worker.inference import Probabilities
from worker.pipeline.training.fitting import Dataset, Fit

MAIN = "main leagues with odds"
ALL = "all matches"
BASE_RATES = "base rates"
PRE_MATCH = "Bet365 pre-match"
CLOSING = "market average closing"

Chosen = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One forecaster on one group of matches."""

    group: str
    forecaster: str
    n: int
    log_loss: float
    brier: float
    rps: float
    ece: float
    ece_floor: float  # of a perfect forecaster, by chance


@dataclass(frozen=True, slots=True)
class HoldOutScores:
    """The score table and the time it covers."""

    since: datetime
    rows: tuple[ScoreRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {"since": self.since.isoformat(), "rows": [asdict(row) for row in self.rows]}

    def metrics(self, forecaster: str) -> dict[str, float]:
        """The forecaster's scores, those on all matches with a prefix, and the yardsticks, as metrics of its run."""
        metrics: dict[str, float] = {}
        for row in self.rows:
            prefix = "" if row.group == MAIN else "all_"
            if row.forecaster != forecaster:
                if row.forecaster not in (BASE_RATES, PRE_MATCH, CLOSING):
                    continue
                prefix += row.forecaster.lower().replace(" ", "_").replace("-", "_") + "_"
            values = {"log_loss": row.log_loss, "brier": row.brier, "rps": row.rps, "ece": row.ece}
            values |= {"ece_floor": row.ece_floor, "n": row.n}
            metrics |= {prefix + name: float(value) for name, value in values.items()}
        return metrics


def fair_probabilities(matches: pa.Table, price: str) -> Probabilities:
    """A price's probabilities with its margin taken out as the service does, (n, 3); NaN without all three."""
    sides = [matches[f"{price}_{side}"].cast(pa.float64()) for side in SIDES]
    prices = [np.asarray(side.to_numpy(zero_copy_only=False), dtype=np.float64) for side in sides]
    return odds.fair(np.stack(prices, axis=1))


def score_hold_out(dataset: Dataset, models: Mapping[str, Fit], since: datetime) -> HoldOutScores:
    """Scores of models and yardsticks on everything played since then."""
    played = dataset.select_played(since, None)
    prices = {
        PRE_MATCH: fair_probabilities(dataset.matches, "b365"),
        CLOSING: fair_probabilities(dataset.matches, "avgc"),
    }
    priced = played & ~np.isnan(prices[PRE_MATCH][:, 0]) & ~np.isnan(prices[CLOSING][:, 0])
    known = {name: forecast[priced] for name, forecast in prices.items()}
    rows = [*_group(dataset, models, since, MAIN, priced, known), *_group(dataset, models, since, ALL, played, {})]
    return HoldOutScores(since, tuple(rows))


def _group(  # noqa: PLR0913, PLR0917 - a group is these things and no smaller thing
    dataset: Dataset,
    models: Mapping[str, Fit],
    since: datetime,
    name: str,
    chosen: Chosen,
    prices: dict[str, Probabilities],
) -> Iterator[ScoreRow]:
    if not chosen.any():
        return
    forecasts = {title: model.predict(dataset.features[chosen]) for title, model in models.items()}
    forecasts[BASE_RATES] = _base_rates(dataset, since, chosen)
    for forecaster, forecast in (forecasts | prices).items():
        yield ScoreRow(name, forecaster, **asdict(score(forecast, dataset.outcome[chosen])))


def _base_rates(dataset: Dataset, since: datetime, chosen: Chosen) -> Probabilities:
    """How often each outcome came before, in the divisions of the chosen matches, for all of them alike."""
    divisions = dataset.matches["division"].to_numpy()
    earlier = dataset.select_played(None, since) & np.isin(divisions, np.unique(divisions[chosen]))
    counts = np.bincount(dataset.outcome[earlier], minlength=3).astype(np.float64)
    return np.tile(counts / counts.sum(), (int(chosen.sum()), 1))
