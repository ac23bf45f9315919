"""What a live prediction of a match needs from a snapshot, fetched in one step."""

from dataclasses import dataclass
from datetime import datetime

from app.errors import FeaturesMissing, MatchNotFound
from app.store.odds import Odds
from app.store.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Inputs:
    """A feature row as little-endian float32, the odds that stand beside the prediction, the newest result known."""

    features: bytes
    odds: Odds
    data_until: datetime | None


async def find_inputs(snapshot: Snapshot, match_id: int) -> Inputs:
    """Find the inputs of one match, in microseconds; MatchNotFound, FeaturesMissing, FeaturesLoading."""
    odds = snapshot.prices.find(match_id)
    if odds is None:
        raise MatchNotFound.of(match_id)
    features = await snapshot.features.find(match_id)
    if features is None:
        raise FeaturesMissing(f"Match {match_id} has no feature row.", match_id=match_id)
    return Inputs(features, odds, snapshot.manifest.data_until)
