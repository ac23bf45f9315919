"""What a worker answered, as it goes over the wire, with the age of everything behind it."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from app.domain.outcomes import Outcome
from app.queue.jobs import PredictResult, TaskJob
from app.schemas import ContributionOut, LiveModelOut, LivePredictionOut, ProbabilitiesOut, TimingsOut
from app.store.odds import Odds


@dataclass(frozen=True, slots=True)
class Beside:
    """What a snapshot says beside an answer; None where it says nothing."""

    odds: Odds | None = None
    data_until: datetime | None = None


def live_prediction(
    job: TaskJob, task_id: str, result: PredictResult, beside: Beside, timings: TimingsOut
) -> LivePredictionOut:
    """Put together the answer about one match."""
    now = datetime.now(UTC)
    features_computed_at = datetime.fromisoformat(job.features_computed_at)
    captured_at = beside.odds.captured_at if beside.odds else None
    home, draw, away = result.proba
    return LivePredictionOut(
        match_id=job.match_id,
        probabilities=ProbabilitiesOut(home=home, draw=draw, away=away),
        predicted=Outcome(result.proba.index(max(result.proba))).label,
        model=LiveModelOut(
            name=result.model_name, version=result.model_version, alias=result.alias, run_id=result.run_id
        ),
        snapshot_id=job.snapshot_id,
        features_computed_at=features_computed_at,
        feature_age_s=(now - features_computed_at).total_seconds(),
        data_until=beside.data_until,
        odds_captured_at=captured_at,
        odds_age_s=(now - captured_at).total_seconds() if captured_at else None,
        computed_at=result.computed_at,
        task_id=task_id,
        timings=timings,
        explanation=_explanation(result),
    )


def _explanation(result: PredictResult) -> list[ContributionOut] | None:
    if result.contributions is None:
        return None
    return [ContributionOut(**asdict(contribution)) for contribution in result.contributions]
