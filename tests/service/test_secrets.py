"""No secret in what the API says: its logs at their most talkative, its metrics, its problems, its settings."""

import signal
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from app.settings import Settings
from infra.local.ports import free_port
from tests.service.test_main import started, wait_ready
from tests.support.build_keys import a_key, as_setting

DATABASE, REDIS, AWS, PAGE = "database-hunter2", "redis-hunter2", "aws-hunter2", "page-hunter2"


def said(url: str, headers: dict[str, str]) -> str:
    """Body and headers of an answer, whatever its status."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return answer.read().decode() + str(answer.headers)
    except urllib.error.HTTPError as problem:
        with problem:
            return problem.read().decode() + str(problem.headers)


@pytest.mark.timeout(600)
def test_no_secret_is_said(tmp_path: Path) -> None:
    text, key = a_key()
    port = free_port()
    secrets = [text, text.partition(".")[2], DATABASE, REDIS, AWS, PAGE, key.sha256]
    environ = {
        "APP_PORT": str(port),
        "TOUCHLINE_HOME": str(tmp_path),
        "LOG_LEVEL": "DEBUG",
        "LOG_FORMAT": "json",
        "API_KEYS": as_setting(key),
        "API_KEY": f"page.{PAGE}",
        "DATABASE_URL": f"postgresql://touchline:{DATABASE}@127.0.0.1:1/touchline",
        "REDIS_URL": f"redis://:{REDIS}@127.0.0.1:1/0",
        "ARTIFACTS_URI": "s3://bucket/prefix",
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": AWS,
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "RATE_LIMIT_PER_MINUTE": "100",
    }
    url = f"http://127.0.0.1:{port}"
    log = tmp_path / "log"
    with log.open("w") as file, started(stderr=file, **environ) as process:
        wait_ready(f"{url}/livez")
        shown = [{"X-API-Key": text}, {"Authorization": f"Bearer {text}"}, {"X-API-Key": text + "x"}, {}]
        paths = ["/predict/odds/", f"/predict/odds/?key={text}", "/predict/7", "/monitoring/arq/queues", "/nowhere"]
        paths += ["/metrics", "/readyz", "/healthcheck/", "/openapi.json"]
        answers = [said(url + path, headers) for path in paths for headers in shown]
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    logged = log.read_text()
    assert '"event":"request"' in logged
    assert '"logger":"botocore' in logged  # whoever signs requests with the secret talks too
    for secret in secrets:
        assert secret not in logged
        assert not any(secret in answer for answer in answers)


def test_settings_print_without_secrets() -> None:
    settings = Settings(
        redis_url=f"redis://:{REDIS}@x/0", database_url=f"postgresql://a:{DATABASE}@x/y", api_key=f"page.{PAGE}"
    )
    for shown in (repr(settings), str(settings), settings.model_dump_json(), str(settings.model_dump())):
        assert "hunter2" not in shown
