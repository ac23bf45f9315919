"""Odds and predictions of one match over time."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.domain.odds import fair
from app.schemas import MatchHistoryOut
from tests.support.build_artifacts import FIRST_ID, write_artifacts
from tests.support.serving import Client, Serve, json_of

PLAYED = FIRST_ID + 30


async def history_of(client: Client, match_id: int, **params: Any) -> MatchHistoryOut:
    found = await json_of(client, f"/predict/odds/{match_id}/history", **params)
    return MatchHistoryOut.model_validate(found, strict=False)


@pytest.fixture(params=[True, False], ids=["with history", "without"])
async def any_client(request: pytest.FixtureRequest, serve: Serve, tmp_path: Path) -> Client:
    """A folder with a history, and one whose artifacts alone say when what was known."""
    folder = write_artifacts(tmp_path / "any", odds_share=1.0, with_history=request.param)
    return await serve(artifacts_uri=str(folder))


async def test_match_has_its_price_its_closing_price_and_its_prediction(any_client: Client) -> None:
    found = await history_of(any_client, PLAYED)
    card = (await json_of(any_client, f"/predict/precomputed/{PLAYED}"))["probabilities"]
    assert (found.match_id, found.status, found.snapshot.stale) == (PLAYED, "finished", False)
    offer, closing = found.odds
    assert (offer.kind, closing.kind) == ("offer", "closing")
    assert offer.known_at == offer.captured_at < found.kickoff_utc == closing.captured_at
    prices = np.array([[offer.odds.home, offer.odds.draw, offer.odds.away]])
    assert [offer.fair.home, offer.fair.draw, offer.fair.away] == pytest.approx(fair(prices)[0])
    (prediction,) = found.predictions
    assert prediction.probabilities.model_dump() == card
    assert prediction.known_at == found.kickoff_utc.replace(hour=0)


async def test_unknown_match_is_not_found(any_client: Client) -> None:
    async with any_client.get("/predict/odds/5/history") as response:
        assert (response.status, (await response.json())["code"]) == (404, "match-not-found")


async def test_match_without_odds_has_a_history_without_odds(serve: Serve, tmp_path: Path) -> None:
    client = await serve(artifacts_uri=str(write_artifacts(tmp_path / "bare", odds_share=0, with_history=True)))
    found = await history_of(client, PLAYED)
    assert (found.odds, len(found.predictions)) == ([], 1)
