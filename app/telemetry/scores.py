"""How good the predictions and the bets on them were, for graphs over weeks."""

from collections.abc import Mapping

from app.telemetry.exposition import Gauge, Registry


class ScoreMetrics:
    """Figures that a snapshot or the ledger says anew now and then; one that nobody knows is absent."""

    def __init__(self, registry: Registry) -> None:
        self._bets = Gauge(
            registry,
            "value_bets",
            "Value bets of the snapshot at one unit each: settled, open, profit, drawdown; roi, roi_low, roi_high, "
            "mean_edge, clv and accuracies as shares.",
            ("figure",),
        )
        self._quality = Gauge(
            registry,
            "model_quality",
            "Settled live predictions of the last year: n, log_loss, brier, rps, ece.",
            ("role", "version", "figure"),
        )

    def set_bets(self, figures: Mapping[str, float | None]) -> None:
        """The figures of a snapshot; None is absent."""
        self._bets.clear()
        for figure, value in figures.items():
            self._bets.set(value, figure)

    def set_quality(self, figures: Mapping[tuple[str, str, str], float | None]) -> None:
        """By role, version and figure; None is absent."""
        self._quality.clear()
        for labels, value in figures.items():
            self._quality.set(value, *labels)
