"""The gauges of money and quality say what the API's own answers say."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.background.gauges import MIN_N, follow_promotions, follow_quality
from app.domain.outcomes import Outcome
from app.domain.results import MatchResult
from app.ledger.ledger import Ledger
from app.ledger.promotions import Promotion, carry_out_promotion, plan_promotion
from app.ledger.settlement import settle
from app.runtime import run_in_background
from app.settings import Settings
from app.telemetry.api_metrics import ScoreMetrics
from app.telemetry.metrics import MetricsRegistry
from tests.support.build_ledger import a_ledger_row
from tests.support.serving import Serve, json_of, until

KICKOFF = datetime.now(UTC) - timedelta(days=1)


def figures(text: str, metric: str) -> dict[str, float]:
    """Label sets, as they are written, and values of one metric."""
    lines = [line.rpartition(" ") for line in text.splitlines() if line.startswith(f"{metric}{{")]
    return {labels.removeprefix(metric): float(value) for labels, _, value in lines}


async def test_value_bets_are_those_of_the_roi_answer(serve: Serve) -> None:
    client = await serve(min_bets=2)
    roi = await json_of(client, "/predict/roi/")

    async def shown() -> dict[str, float]:
        response = await client.get("/metrics")
        return figures(await response.text(), "value_bets")

    async def is_measured() -> bool:
        return bool(await shown())

    await until(is_measured)
    found = await shown()
    assert found['{figure="settled"}'] == roi["n_bets"] > 0
    assert found['{figure="open"}'] == roi["n_open_value_bets"]
    assert found['{figure="roi"}'] == pytest.approx(roi["roi_pct"] / 100)
    assert found['{figure="accuracy_market"}'] == pytest.approx(roi["accuracy_market"])


async def test_promotions_that_moved_are_marked_with_their_time(tmp_path: Path, database_url: str) -> None:
    settings = Settings(touchline_home=tmp_path, database_url=SecretStr(database_url))
    registry = MetricsRegistry()
    metrics = ScoreMetrics(registry)

    async def move(promotion: Promotion) -> str | None:
        return "refused" if promotion.to_version == "9" else None

    async with Ledger.open(settings) as ledger:
        assert isinstance(ledger, Ledger)
        pool = await ledger.database.pool()
        done = []
        for source, target in (("1", "2"), ("1", "9"), (None, "3"), ("1", "2")):
            wish = plan_promotion(settings.model_name, "champion", source, target, actor="me", because="why")
            done.append(await carry_out_promotion(pool, wish, move))
        follow = follow_promotions(ledger, metrics, settings, every_s=60)

        async def is_marked() -> bool:
            return len(figures(registry.text()[0].decode(), "model_promoted_at_seconds")) == 2

        async with run_in_background(follow):
            await until(is_marked)
    found = figures(registry.text()[0].decode(), "model_promoted_at_seconds")
    again, first = sorted(found, key=lambda labels: "none" in labels)
    assert 'from_version="1",to_version="2"' in again
    assert found[again] == pytest.approx(done[3].ended_at.timestamp(), abs=1e-3)  # of two alike, the last
    assert 'from_version="none",to_version="3"' in first


async def test_quality_is_scored_from_the_ledger(tmp_path: Path, database_url: str) -> None:
    settings = Settings(touchline_home=tmp_path, database_url=SecretStr(database_url))
    registry = MetricsRegistry()
    metrics = ScoreMetrics(registry)
    async with Ledger.open(settings) as ledger:
        assert isinstance(ledger, Ledger)
        for match_id in range(MIN_N):
            before = KICKOFF - timedelta(hours=1)
            ledger.record(a_ledger_row(match_id=match_id, answered_at=before, model_version="5"))
        await ledger.flush()
        results = [MatchResult(n, KICKOFF, True, Outcome.HOME, 2, 1, None) for n in range(MIN_N)]
        await settle(await ledger.database.pool(), results, "s1", datetime.now(UTC))
        async with run_in_background(follow_quality(ledger, metrics, settings)):

            async def is_scored() -> bool:
                return "model_quality{" in registry.text()[0].decode()

            await until(is_scored)
    found = figures(registry.text()[0].decode(), "model_quality")
    assert found['{figure="n",role="answered",version="5"}'] == MIN_N
    assert found['{figure="log_loss",role="answered",version="5"}'] == pytest.approx(0.6931, abs=1e-4)


async def test_without_a_database_nothing_is_scored(tmp_path: Path) -> None:
    metrics = ScoreMetrics(MetricsRegistry())
    async with Ledger.open(Settings(touchline_home=tmp_path, database_url=None)) as ledger:
        await asyncio.wait_for(follow_quality(ledger, metrics, Settings(touchline_home=tmp_path)), 5)
