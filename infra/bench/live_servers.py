"""The processes that `scripts/bench live` measures: our worker, and the live path on arq as it comes.

python -m infra.bench.live_servers ours MODEL
python -m infra.bench.live_servers arq MODEL POLL_S
python -m infra.bench.live_servers arq-api FEATURES PORT POLL_S
"""

import asyncio
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time

import orjson
import xgboost as xgb
from aiohttp import web
from arq import Worker

from app.queue.jobs import Job, ModelInfo, PredictionRequest
from app.queue.redis import connect
from app.queue.redis_keys import RedisKeys
from app.queue.serialization import dumps, name_feature_set, request_payload
from app.settings import Settings
from app.store.features import FeatureRows, open_features
from worker.main import serve, stock_settings
from worker.predictors import BoosterPredictor, LoadedModel


class FileSource:
    """One booster from a file, as champion."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def version_of(self, alias: str) -> str | None:
        """Always the same."""
        return "1" if alias == "champion" else None

    def load(self, alias: str, version: str) -> LoadedModel:
        """Read the file."""
        booster = xgb.Booster(model_file=self._path)
        names = tuple(booster.feature_names or ())
        now = datetime.now(UTC)
        info = ModelInfo(alias, "bench", version, "bench", "xgboost", None, now, len(names), None, {}, {})
        return LoadedModel(info, names, BoosterPredictor(booster))


async def arq_worker(settings: Settings, model: Path, poll_s: float) -> None:
    """A stock arq worker with our task."""
    options = stock_settings(settings, source=lambda _: FileSource(model)) | {"after_job_end": None}
    worker = Worker(**options, poll_delay=poll_s, log_results=False)
    with suppress(asyncio.CancelledError):
        await worker.async_run()  # arq ends it on SIGTERM


def arq_api(settings: Settings, features: FeatureRows, poll_s: float) -> web.Application:
    """The smallest service that asks a stock arq worker and polls for its answer; and a bare answer for the floor."""
    redis = connect(settings)
    feature_set = name_feature_set(features.names)

    async def bare(_: web.Request) -> web.Response:
        return web.Response(body=b'{"status":"ok"}', content_type="application/json")

    async def predict(request: web.Request) -> web.Response:
        match_id = int(request.match_info["match_id"])
        row = await features.find(match_id) or b""
        prediction = PredictionRequest(match_id, "champion", row, feature_set, "bench", "", "", time() + 60)
        enqueued = await redis.enqueue_job(Job.PREDICT_MATCH, request_payload(prediction))
        if enqueued is None:
            raise web.HTTPConflict
        answer = await enqueued.result(timeout=60, poll_delay=poll_s)
        return web.Response(body=orjson.dumps(answer), content_type="application/json")

    async def announce(_: web.Application) -> None:
        await redis.set(RedisKeys(settings.queue_name).features(feature_set), dumps(features.names))

    app = web.Application()
    app.on_startup.append(announce)
    app.router.add_get("/bare", bare)
    app.router.add_get("/predict/{match_id}", predict)
    return app


def main() -> None:
    """Run the one that is named, with settings from the environment."""
    settings = Settings()
    what, path = sys.argv[1], Path(sys.argv[2])
    if what == "ours":
        asyncio.run(serve(settings, source=lambda _: FileSource(path)))
    elif what == "arq":
        asyncio.run(arq_worker(settings, path, float(sys.argv[3])))
    else:
        with TemporaryDirectory(prefix="touchline-bench-") as cache:
            app = arq_api(settings, open_features(path, "bench", Path(cache)), float(sys.argv[4]))
            web.run_app(app, host="127.0.0.1", port=int(sys.argv[3]), print=None, access_log=None)


if __name__ == "__main__":
    main()
