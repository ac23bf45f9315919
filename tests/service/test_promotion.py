"""A candidate is compared with the champion, promoted with a reason, followed under load, and rolled back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import numpy as np
import pyarrow.parquet as pq
import pytest
import xgboost as xgb
from sklearn.metrics import log_loss

from app.artifacts.contract import FEATURES as FEATURES_FILE
from app.artifacts.contract import PREDICTIONS
from app.client import ApiFailure, TouchlineClient
from app.domain.statistics import Estimate
from app.ledger.database import LedgerDatabase
from app.ledger.promotions import ComparisonVerdict, list_promotions
from app.queue.client import QueueClient
from app.schemas import CardsQuery, PromoteIn
from app.settings import Settings
from tests.support.build_artifacts import write_artifacts
from tests.support.build_keys import a_key, as_setting
from tests.support.live import MemorySource, serving, settings_for
from tests.support.models import FEATURES, NAME, TinyRegistry, golden_document, tiny_booster, tiny_rows
from tests.support.serving import Serve
from worker.inference import predict_proba
from worker.model_comparison import HoldOut, compare_live, compare_versions
from worker.models import REFUSED, UNREACHABLE, main
from worker.predictors import ModelRefused
from worker.registry import ModelRegistry

pytestmark = pytest.mark.timeout(600)
N_MATCHES, N_UPCOMING = 900, 20
CHAMPION, BETTER, WORSE, UNGOLDEN, BROKEN, FOREIGN = "1", "2", "3", "4", "5", "6"


def booster_of(rows: np.ndarray, outcomes: np.ndarray, names: tuple[str, ...] = FEATURES) -> xgb.Booster:
    matrix = xgb.DMatrix(rows, outcomes, feature_names=list(names))
    params = {"objective": "multi:softprob", "num_class": 3, "max_depth": 4, "seed": 3, "nthread": 1}
    return xgb.train(params, matrix, 12)


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("promotion") / "artifacts"
    return write_artifacts(folder, n_matches=N_MATCHES, n_upcoming=N_UPCOMING, feature_names=FEATURES)


@pytest.fixture(scope="module")
def outcomes(artifacts: Path) -> np.ndarray:
    return pq.read_table(artifacts / PREDICTIONS)["outcome"].to_numpy()[: N_MATCHES - N_UPCOMING].astype(int)


@pytest.fixture(scope="module")
def rows(artifacts: Path) -> np.ndarray:
    table = pq.read_table(artifacts / FEATURES_FILE)
    whole = np.stack([table[name].to_numpy() for name in FEATURES], axis=1)
    return whole[: N_MATCHES - N_UPCOMING]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, rows: np.ndarray, outcomes: np.ndarray) -> TinyRegistry:
    """Versions whose worth is known: one has seen the answers, one has learned them turned round."""
    registry = TinyRegistry(tmp_path_factory.mktemp("versions")).prepare()
    registry.add_booster(tiny_booster(), alias="champion")
    registry.add_booster(booster_of(rows, outcomes))
    registry.add_booster(booster_of(rows, (outcomes + 1) % 3))
    sample = tiny_rows(4)
    registry.add_flavor("xgboost", booster_of(rows, outcomes), tags={"class_order": "home,draw,away"})
    wrong = golden_document(sample, np.full((4, 3), 1 / 3))
    registry.add_booster(booster_of(rows, outcomes), golden=wrong)
    other = ("elo_home", "unheard_of")
    registry.add_booster(tiny_booster(other), names=other)
    return registry


@pytest.fixture
def versions(template: TinyRegistry) -> TinyRegistry:
    """The versions, with the champion where it was."""
    template.point("champion", CHAMPION)
    return template


@pytest.fixture
def settings(redis_url: str, versions: TinyRegistry, database_url: str, artifacts: Path, tmp_path: Path) -> Settings:
    return settings_for(
        redis_url,
        mlflow_tracking_uri=versions.uri,
        database_url=database_url,
        artifacts_uri=str(artifacts),
        touchline_home=tmp_path / "home",
        model_aliases=("champion",),
    )


@pytest.fixture
async def ledger(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    database = LedgerDatabase(database_url)
    yield await database.pool()
    await database.close()


async def models(settings: Settings, *arguments: str) -> int:
    """`scripts/models` with these arguments; its exit code."""

    def run() -> int:
        given = {
            "DATABASE_URL": settings.database_url.get_secret_value() if settings.database_url else "",
            "MLFLOW_TRACKING_URI": settings.mlflow_tracking_uri,
            "MODEL_NAME": settings.model_name,
            "ARTIFACTS_URI": settings.artifacts_uri,
            "TOUCHLINE_HOME": str(settings.touchline_home),
        }
        with pytest.MonkeyPatch.context() as patch:
            for name, value in given.items():
                patch.setenv(name, value)
            return main(arguments)

    return await asyncio.to_thread(run)


def champion_of(versions: TinyRegistry) -> str:
    return str(versions.client.get_model_version_by_alias(NAME, "champion").version)


def test_a_comparison_is_paired_on_the_matches_that_neither_has_seen(
    settings: Settings, rows: np.ndarray, outcomes: np.ndarray, artifacts: Path
) -> None:
    found = compare_versions(ModelRegistry(settings), (CHAMPION, BETTER), artifacts, [])
    ours, theirs = booster_of(rows, outcomes), tiny_booster()
    assert found.hold_out.n == len(outcomes)
    for scores, booster in ((found.hold_out.champion, theirs), (found.hold_out.candidate, ours)):
        assert scores is not None
        expected = log_loss(outcomes, predict_proba(booster, rows), labels=[0, 1, 2])
        assert scores.log_loss == pytest.approx(expected, rel=1e-6)
    happened = np.arange(len(outcomes)), outcomes
    differences = -np.log(predict_proba(ours, rows)[happened]) + np.log(predict_proba(theirs, rows)[happened])
    half = 1.96 * differences.std(ddof=1) / np.sqrt(len(differences))
    assert found.hold_out.log_loss is not None
    assert found.hold_out.log_loss.value == pytest.approx(differences.mean(), rel=1e-6)
    assert found.hold_out.log_loss.high == pytest.approx(differences.mean() + half, rel=1e-3)
    assert (found.hold_out.verdict, found.objections) == ("better", ())
    assert found.live.verdict == "too_few"
    assert found.candidate.ms_64_rows > 0
    assert found.candidate.n_golden_rows == 4
    assert found.candidate.drift_psi is None or found.candidate.drift_psi >= 0


def test_matches_before_the_end_of_either_training_do_not_count(
    settings: Settings, artifacts: Path, versions: TinyRegistry
) -> None:
    kickoffs = pq.read_table(artifacts / PREDICTIONS)["kickoff_utc"].to_pylist()[: N_MATCHES - N_UPCOMING]
    until = kickoffs[-100]
    late = versions.add_booster(tiny_booster(seed=9), trained_until=until.isoformat())
    found = compare_versions(ModelRegistry(settings), (CHAMPION, late), artifacts, [])
    assert (found.hold_out.n, found.hold_out_since) == (100, until)
    newest = versions.add_booster(tiny_booster(seed=9), trained_until=(kickoffs[-1] + timedelta(days=1)).isoformat())
    found = compare_versions(ModelRegistry(settings), (CHAMPION, newest), artifacts, [])
    assert (found.hold_out.n, found.hold_out.verdict) == (0, "too_few")
    assert not found.has_passed


def test_the_newest_matches_are_read_in_the_order_of_their_kickoff(artifacts: Path) -> None:
    held = HoldOut.read(artifacts, datetime(2020, 1, 1, tzinfo=UTC), FEATURES)
    table = pq.read_table(artifacts / FEATURES_FILE)
    assert held.rows(FEATURES[::-1])[5].tolist() == [table[name][5].as_py() for name in FEATURES[::-1]]
    assert (np.diff(held.kickoff.astype("int64")) >= 0).all()


def test_a_year_that_differs_shows_as_drift(settings: Settings, tmp_path: Path, rows: np.ndarray) -> None:
    """Matches are 8 hours apart, so that 2,400 of them are more than two years."""

    def shift(table):  # type: ignore[no-untyped-def]  # pyarrow's tables
        moved = table["elo_home"].to_numpy() + np.where(np.arange(len(table)) > 1300, 2.0, 0.0)
        return table.set_column(1, "elo_home", [moved.astype("float32")])

    registry = ModelRegistry(settings)
    psi = []
    for name, edit in (("same", {}), ("moved", {FEATURES_FILE: shift})):
        folder = write_artifacts(tmp_path / name, n_matches=2400, feature_names=FEATURES, edit=edit)
        psi.append(compare_versions(registry, (CHAMPION, BETTER), folder, []).champion.drift_psi)
    assert psi[0] is not None
    assert psi[1] is not None
    assert psi[0] < 0.1
    assert psi[1] > 0.25


def a_settled_row(match_id: int, home: float, shadow_home: float, **changes: object) -> dict[str, object]:
    row: dict[str, object] = {"match_id": match_id, "outcome": 0, "answered_at": datetime(2026, 8, 1, tzinfo=UTC)}
    for name, value in (("proba", home), ("shadow", shadow_home)):
        row |= {f"{name}_home": value, f"{name}_draw": (1 - value) / 2, f"{name}_away": (1 - value) / 2}
    row |= {"model_name": NAME, "model_version": CHAMPION, "shadow_name": NAME, "shadow_version": BETTER}
    return row | changes


def test_live_predictions_are_paired_by_match_whoever_of_the_two_answered() -> None:
    swapped = {"model_version": BETTER, "shadow_version": CHAMPION}
    settled = [a_settled_row(each, 0.4, 0.6 + each / 1000) for each in range(40)]
    settled += [a_settled_row(40 + each, 0.6 + each / 1000, 0.4, **swapped) for each in range(40)]
    settled.append(a_settled_row(100, 0.4, 0.6, shadow_name=None, shadow_version=None))  # nobody beside it
    settled.append(a_settled_row(0, 0.1, 0.9, answered_at=datetime(2026, 7, 1, tzinfo=UTC)))  # an earlier answer
    found = compare_live(settled, NAME, (CHAMPION, BETTER))
    gains = np.log(0.4) - np.log(0.6 + np.tile(np.arange(40), 2) / 1000)
    assert (found.n, found.verdict) == (80, "better")
    assert found.log_loss is not None
    assert found.log_loss.value == pytest.approx(gains.mean())
    assert compare_live(settled, NAME, (BETTER, CHAMPION)).verdict == "worse"
    assert compare_live(settled[:29], NAME, (CHAMPION, BETTER)).verdict == "too_few"
    assert compare_live([], NAME, (CHAMPION, BETTER)).n == 0


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(-0.2, -0.1, "better"), (-0.1, 0.002, "not_worse"), (-0.1, 0.0021, "undecided"), (0.0001, 0.1, "worse")],
)
def test_a_verdict_follows_from_the_interval(low: float, high: float, verdict: str) -> None:
    assert ComparisonVerdict.of_difference(Estimate((low + high) / 2, low, high)) == verdict


def test_a_version_that_cannot_be_compared_says_why(settings: Settings, artifacts: Path) -> None:
    registry = ModelRegistry(settings)
    with pytest.raises(ModelRefused, match="golden rows"):
        compare_versions(registry, (CHAMPION, BROKEN), artifacts, [])
    with pytest.raises(ModelRefused, match="no version 99"):
        compare_versions(registry, ("99", BETTER), artifacts, [])
    with pytest.raises(ModelRefused, match="unheard_of"):
        compare_versions(registry, (CHAMPION, FOREIGN), artifacts, [])


async def test_the_command_line_compares_promotes_and_rolls_back(
    settings: Settings, versions: TinyRegistry, ledger: asyncpg.Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await models(settings, "compare", CHAMPION, BETTER) == 0
    said = capsys.readouterr().out
    assert f"hold-out, {N_MATCHES - N_UPCOMING} matches" in said
    assert "passed" in said.splitlines()
    assert await models(settings, "promote", BETTER) == 0
    assert champion_of(versions) == BETTER
    assert await models(settings, "promote", BETTER) == REFUSED
    assert await models(settings, "rollback", "--because", "only a rehearsal") == 0
    assert champion_of(versions) == CHAMPION
    assert await models(settings, "list") == 0
    said = capsys.readouterr().out
    assert f"rollback champion {BETTER} -> {CHAMPION}" in said
    assert "because only a rehearsal" in said
    rollback, promotion = await list_promotions(ledger, NAME, 10)
    assert (promotion.action, promotion.from_version, promotion.to_version) == ("promote", CHAMPION, BETTER)
    assert promotion.has_moved
    assert promotion.comparison_id is not None
    assert "@" in promotion.actor
    assert (rollback.action, rollback.because, rollback.has_moved) == ("rollback", "only a rehearsal", True)


async def test_what_has_not_passed_needs_a_reason(
    settings: Settings, versions: TinyRegistry, ledger: asyncpg.Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await models(settings, "promote", WORSE) == REFUSED  # compared on the way
    assert "worse than the champion on the hold-out" in capsys.readouterr().err
    assert await list_promotions(ledger, NAME, 10) == []
    assert await models(settings, "promote", UNGOLDEN) == REFUSED
    assert "no golden rows" in capsys.readouterr().err
    assert await models(settings, "promote", WORSE, "--because", "the other one is no longer supported") == 0
    assert champion_of(versions) == WORSE
    # no reason makes workers serve what contradicts its own golden rows
    assert await models(settings, "promote", BROKEN, "--because", "please") == REFUSED
    assert champion_of(versions) == WORSE
    failed, _ = await list_promotions(ledger, NAME, 10)
    assert failed.has_moved is False
    assert "golden rows" in (failed.detail or "")


async def test_without_an_earlier_promotion_there_is_nothing_to_roll_back_to(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await models(settings, "rollback") == REFUSED
    assert "No promotion says" in capsys.readouterr().err


async def test_what_is_away_is_told(settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = settings.model_copy(update={"artifacts_uri": str(tmp_path / "nowhere")})
    assert await models(nowhere, "compare", CHAMPION, BETTER) in {REFUSED, UNREACHABLE}
    assert str(tmp_path / "nowhere") in capsys.readouterr().err
    assert await models(settings.model_copy(update={"database_url": None}), "list") == REFUSED
    assert "DATABASE_URL" in capsys.readouterr().err


async def test_records_of_promotions_cannot_be_changed(
    settings: Settings, ledger: asyncpg.Pool, versions: TinyRegistry
) -> None:
    assert await models(settings, "promote", WORSE, "--because", "to have a row") == 0
    for statement in (
        "UPDATE model_promotions SET because = 'another'",
        "DELETE FROM model_promotion_results",
        "UPDATE model_comparisons SET has_passed = true",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            await ledger.execute(statement)


@asynccontextmanager
async def api(serve: Serve, settings: Settings, **changes: object) -> AsyncIterator[TouchlineClient]:
    """A client with every scope of an API whose workers hold the registry's champion."""
    text, key = a_key()
    values = settings.model_dump() | {"api_keys": as_setting(key), "min_bets": 2} | changes
    server = await serve(**values)
    async with TouchlineClient(str(server.make_url("")), key=text, patience_s=0) as client:
        yield client


async def wait_for_version(client: TouchlineClient, version: str) -> None:
    async with asyncio.timeout(120):
        while {model.version for model in (await client.list_models()).items} != {version}:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@asynccontextmanager
async def under_load(client: TouchlineClient, matches: list[int]) -> AsyncIterator[list[str]]:
    """Eight callers who ask without a pause; the versions that answered. A failure of any is one of the test."""
    answered: list[str] = []
    stopped = asyncio.Event()

    async def ask(place: int) -> None:
        while not stopped.is_set():
            answered.append((await client.predict_match(matches[place % len(matches)])).model.version)
            place += 1

    async with asyncio.TaskGroup() as load:
        for place in range(8):
            load.create_task(ask(5 * place))
        yield answered
        stopped.set()


async def test_workers_follow_a_promotion_and_a_rollback_under_load(
    serve: Serve, settings: Settings, versions: TinyRegistry
) -> None:
    async with serving(settings), api(serve, settings) as client:
        assert await models(settings, "compare", CHAMPION, BETTER) == 0
        matches = [card.match_id async for card in client.iter_cards(CardsQuery(limit=200))][:40]
        async with under_load(client, matches) as answered:
            done = await client.promote_version(PromoteIn(version=BETTER))
            assert (done.from_version, done.to_version, done.has_moved) == (CHAMPION, BETTER, True)
            assert done.actor.startswith("key ")
            await wait_for_version(client, BETTER)
            n_before = len(answered)
            async with asyncio.timeout(120):
                while len(answered) < n_before + 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            back = await client.promote_version(PromoteIn(rollback=True, because="only a rehearsal"))
            assert (back.action, back.to_version, back.because) == ("rollback", CHAMPION, "only a rehearsal")
            await wait_for_version(client, CHAMPION)
    assert set(answered) == {CHAMPION, BETTER}
    assert champion_of(versions) == CHAMPION


async def test_the_api_promotes_only_what_has_passed_or_has_a_reason(
    serve: Serve, settings: Settings, versions: TinyRegistry
) -> None:
    async with serving(settings), api(serve, settings) as client:
        with pytest.raises(ApiFailure, match="have not been compared") as caught:
            await client.promote_version(PromoteIn(version=WORSE))
        assert (caught.value.code, caught.value.status) == ("promotion-refused", 409)
        assert await models(settings, "compare", CHAMPION, WORSE) == 0
        with pytest.raises(ApiFailure, match="worse than the champion"):
            await client.promote_version(PromoteIn(version=WORSE))
        with pytest.raises(ApiFailure, match="No promotion says"):
            await client.promote_version(PromoteIn(rollback=True))
        with pytest.raises(ApiFailure, match="already"):
            await client.promote_version(PromoteIn(version=CHAMPION))
        for version, reason in ((BROKEN, "golden rows"), ("99", "no version 99")):
            with pytest.raises(ApiFailure, match=reason):
                await client.promote_version(PromoteIn(version=version, because="please"))
        assert champion_of(versions) == CHAMPION
        await client.promote_version(PromoteIn(version=WORSE, because="the other one is wrong about cups"))
        assert champion_of(versions) == WORSE
        found = await client.list_model_versions()
        assert found.state == "ok"
        assert [each.has_moved for each in found.promotions] == [True, False, False]
        assert found.promotions[0].because == "the other one is wrong about cups"
        (comparison,) = found.comparisons
        assert (comparison.has_passed, comparison.hold_out.verdict) == (False, "worse")
        assert comparison.candidate.version == WORSE


async def test_two_who_decide_at_once_do_not_both_move_it(
    serve: Serve, settings: Settings, versions: TinyRegistry
) -> None:
    async with serving(settings), api(serve, settings) as client:
        wishes = [PromoteIn(version=version, because="at once") for version in (BETTER, WORSE)]
        results = await asyncio.gather(*map(client.promote_version, wishes), return_exceptions=True)
        done = [each for each in results if not isinstance(each, BaseException)]
        kept = [each for each in (await client.list_model_versions()).promotions if each.has_moved]
        # both went through only if the second saw what the first had done
        assert [each.from_version for each in reversed(kept)] == [CHAMPION, kept[-1].to_version][: len(kept)]
        assert len(kept) == len(done) >= 1
        assert champion_of(versions) == kept[0].to_version


async def test_a_rollback_need_not_wait_for_the_workers(
    serve: Serve, settings: Settings, versions: TinyRegistry
) -> None:
    async with serving(settings.model_copy(update={"model_poll_s": 60.0})), api(serve, settings) as client:
        await client.promote_version(PromoteIn(version=BETTER, because="the first"))
        assert {model.version for model in (await client.list_models()).items} == {CHAMPION}
        assert (await client.promote_version(PromoteIn(rollback=True))).to_version == CHAMPION
    assert champion_of(versions) == CHAMPION


async def test_who_may_not_promote_is_refused(serve: Serve, settings: Settings) -> None:
    async with api(serve, settings) as admin:
        url = admin.base_url
        with pytest.raises(ApiFailure) as caught:
            await admin.promote_version(PromoteIn(version=BETTER, because="nobody is there"))
        assert caught.value.code == "no-worker"
    async with TouchlineClient(url) as nobody:
        for call in (nobody.list_model_versions(), nobody.promote_version(PromoteIn(rollback=True))):
            with pytest.raises(ApiFailure) as caught:
                await call
            assert caught.value.code in {"key-missing", "unreachable"}


async def test_without_a_ledger_nothing_is_promoted(serve: Serve, settings: Settings) -> None:
    async with serving(settings), api(serve, settings, database_url=None) as client:
        assert (await client.list_model_versions()).state == "not_configured"
        with pytest.raises(ApiFailure) as caught:
            await client.promote_version(PromoteIn(version=BETTER))
        assert caught.value.code == "ledger-unavailable"


async def test_a_worker_without_a_registry_says_so(serve: Serve, settings: Settings) -> None:
    async with serving(settings, MemorySource()), api(serve, settings) as client:
        with pytest.raises(ApiFailure, match="no registry"):
            await client.promote_version(PromoteIn(version=BETTER, because="anyway"))


async def test_a_job_that_comes_too_late_does_nothing(serve: Serve, settings: Settings, versions: TinyRegistry) -> None:
    async with api(serve, settings), serving(settings), QueueClient.open(settings) as queue:
        assert await queue.aliases.move("champion", BETTER, expected=CHAMPION, timeout_s=60) is None
        wish = {"alias": "champion", "version": WORSE, "expected": BETTER, "deadline_at": 0.0}
        job = await queue._redis.enqueue_job("move_alias", wish, _queue_name=settings.queue_name)
        assert (await job.result(timeout=60))["refused"] == "nobody waits for it any more"
    assert champion_of(versions) == BETTER
