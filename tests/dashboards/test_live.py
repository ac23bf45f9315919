"""A prediction made now: page, API, Redis, worker and model together."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.dashboards.conftest import Api, page_server, visiting
from tests.support.build_artifacts import write_artifacts
from tests.support.live import MemorySource, serving, settings_for
from tests.support.models import FEATURES, tiny_booster
from worker.inference import predict_proba

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]


@pytest_asyncio.fixture(loop_scope="session")
async def live_api(redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """An API whose worker holds the model that made the stored predictions."""
    booster = tiny_booster(seed=1)
    artifacts = tmp_path / "artifacts"
    write_artifacts(artifacts, feature_names=FEATURES, predict=lambda rows: predict_proba(booster, rows))
    settings = settings_for(redis_url, model_aliases=("champion",))
    api = Api(artifacts, tmp_path / "log", REDIS_URL=redis_url, QUEUE_NAME=settings.queue_name)
    async with serving(settings, MemorySource()):
        await api.start()
        yield api
        api.stop()


async def test_the_champion_answers_as_stored_and_the_missing_candidate_is_named(
    live_api: Api, browser: Browser
) -> None:
    async with page_server(live_api.url) as site, visiting(browser, site) as visit:
        page = await visit.open("?status=all")
        await page.locator(".row .teams").first.click()
        await page.locator("[data-alias=champion]").click()
        given = page.locator(".live .given")
        await expect(given).to_contain_text("champion v1")
        await expect(given.locator(".bar-line small")).to_have_text(["as stored"] * 3)
        await expect(given).to_contain_text("features")
        await expect(given).to_contain_text("knows results to 19 Aug 2026")
        await expect(given).to_contain_text("answered in")
        await page.locator("[data-alias=candidate]").click()
        await expect(page.locator(".live .failed")).to_contain_text("The candidate did not answer")
        await expect(given).to_be_visible()
        page = await visit.open("?status=finished")
        await page.locator(".row .teams").first.click()
        await page.locator("[data-alias=champion]").click()
        await expect(given).to_contain_text("knows results before this match")


async def test_the_explanation_is_of_the_flagged_bet_and_of_any_outcome_that_is_chosen(
    live_api: Api, browser: Browser
) -> None:
    async with page_server(live_api.url) as site, visiting(browser, site) as visit:
        page = await visit.open("?status=all&value=1")
        row = page.locator(".row.is-value").first
        sign = (await row.locator(".tile.value").get_attribute("class") or "").split("o")[1][0]
        await row.locator(".teams").click()
        await page.locator("[data-alias=champion]").click()
        flagged = page.locator(f'.why [data-explain="{sign}"]')
        await expect(flagged).to_have_attribute("aria-pressed", "true")
        await expect(flagged).to_contain_text("▲")
        lines = page.locator(".why-line .name")
        assert await lines.count() > 0
        assert not any("_" in text for text in await lines.all_inner_texts())
        other = page.locator('.why [aria-pressed="false"]').first
        index = await other.get_attribute("data-explain")
        await other.click()
        await expect(page.locator(f'.why [data-explain="{index}"]')).to_have_attribute("aria-pressed", "true")
        await expect(page.locator(f'.why [data-explain="{index}"]')).to_be_focused()
        await expect(flagged).to_have_attribute("aria-pressed", "false")
