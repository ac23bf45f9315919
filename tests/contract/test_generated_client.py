"""A client that a stranger's tool generates from /openapi.json calls every operation and understands every answer."""

import importlib
import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from app.api.routes import ROUTES

pytestmark = pytest.mark.timeout(300)
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
NAME = "touchline_client"
STREAM = "follow_events"  # its answer has no end, so a client that waits for the whole of it waits for ever
SUCCESS = {route.handler.__name__: route.status for route in ROUTES}
SENT: dict[str, dict[str, object]] = {
    "submit_prediction": {"match_id": 1, "explain": True},
    "promote_version": {"version": "1"},
    "run_sql": {"sql": "SELECT match_id, region FROM predictions ORDER BY match_id LIMIT 2"},
}


@pytest.fixture(scope="module")
def package(keyed_url: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The generated package, imported."""
    url, _ = keyed_url
    folder = tmp_path_factory.mktemp("generated")
    with urllib.request.urlopen(f"{url}/openapi.json") as answer:
        (folder / "openapi.json").write_bytes(answer.read())
    (folder / "config.yml").write_text("post_hooks: []\n")
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--path", str(folder / "openapi.json")]
    options = ["--output-path", str(folder / NAME), "--meta", "none", "--config", str(folder / "config.yml")]
    done = subprocess.run([*command, *options, "--fail-on-warning"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield importlib.import_module(NAME)


@pytest.fixture(scope="module")
def operations(package: ModuleType) -> dict[str, ModuleType]:
    """The generated modules, one an operation, by its name."""
    files = Path(str(package.__file__)).parent.glob("api/*/[!_]*.py")
    return {path.stem: importlib.import_module(f"{NAME}.api.{path.parent.name}.{path.stem}") for path in files}


@pytest.fixture(scope="module")
def call(package: ModuleType, operations: dict[str, ModuleType], keyed_url: tuple[str, str]) -> Callable[..., Any]:
    """Call an operation by its name; an undescribed status is an error."""
    url, text = keyed_url

    def ask(name: str, *, key: str = text, **arguments: object) -> Any:
        with package.AuthenticatedClient(
            base_url=url,
            token=key,
            prefix="",
            auth_header_name="X-API-Key",
            raise_on_unexpected_status=True,
            timeout=60,
        ) as client:
            return operations[name].sync_detailed(client=client, **arguments)

    return ask


def test_every_operation_is_generated(operations: dict[str, ModuleType]) -> None:
    assert operations.keys() == SUCCESS.keys()


@pytest.fixture(scope="module")
def match_id(call: Callable[..., Any]) -> int:
    """A match of the snapshot."""
    return int(call("list_cards", limit=1).parsed.items[0].match_id)


@pytest.fixture(scope="module")
def task_id(call: Callable[..., Any], package: ModuleType, match_id: int) -> str:
    """A task of ours."""
    models = importlib.import_module(f"{package.__name__}.models")
    return str(call("submit_prediction", body=models.AsyncPredictIn(match_id=match_id)).parsed.task_id)


def arguments_of(name: str, package: ModuleType, match_id: int, task_id: str) -> dict[str, object]:
    """What an operation must be given."""
    models = importlib.import_module(f"{package.__name__}.models")
    path = next(route.path for route in ROUTES if route.handler.__name__ == name)
    given: dict[str, object] = {}
    if "{match_id}" in path:
        given["match_id"] = match_id
    if "{task_id}" in path:
        given["task_id"] = task_id
    if name == "submit_prediction":
        given["body"] = models.AsyncPredictIn.from_dict(SENT[name] | {"match_id": match_id})
    if name == "run_sql":
        given["body"] = models.SqlIn.from_dict(SENT[name])
    if name == "promote_version":
        given["body"] = models.PromoteIn.from_dict(SENT[name])
    return given


def normal(value: Any) -> Any:
    """The same with times as instants: both Z and +00:00 are UTC."""
    if isinstance(value, dict):
        return {name: normal(member) for name, member in value.items()}
    if isinstance(value, list):
        return [normal(member) for member in value]
    if isinstance(value, str) and INSTANT.match(value):
        return datetime.fromisoformat(value)
    return value


@pytest.mark.parametrize("name", sorted(SUCCESS.keys() - {STREAM}))
def test_every_operation_is_called_and_its_answer_parsed(
    call: Callable[..., Any], package: ModuleType, match_id: int, task_id: str, name: str
) -> None:
    answer = call(name, **arguments_of(name, package, match_id, task_id))
    # the worker may be faster than who withdraws; without a ledger nothing is promoted
    expected = {"cancel_task": {204, 409}, "promote_version": {503}}.get(name, {SUCCESS[name]})
    assert answer.status_code in expected, answer.content
    if answer.status_code == 204:
        return
    assert answer.parsed is not None
    if hasattr(answer.parsed, "to_dict"):
        # all that came is understood, and nothing is made up
        assert normal(answer.parsed.to_dict()) == normal(json.loads(answer.content))
    else:
        assert answer.parsed == answer.content.decode()


@pytest.mark.parametrize("name", sorted(route.handler.__name__ for route in ROUTES if route.scope is not None))
def test_every_refusal_is_parsed(
    call: Callable[..., Any], package: ModuleType, match_id: int, task_id: str, name: str
) -> None:
    answer = call(name, key="wrong.key", **arguments_of(name, package, match_id, task_id))
    assert (answer.status_code, answer.parsed.code, answer.parsed.status) == (401, "key-invalid", 401)
