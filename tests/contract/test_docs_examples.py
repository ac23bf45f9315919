"""Every example of the documentation runs against a service that `scripts/run` has started."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.examples import (
    EXAMPLE_S,
    HTTP_ERROR,
    PAGES,
    TIMED_OUT,
    DocumentedService,
    Example,
    find_examples,
    start_documented_service,
)

pytestmark = pytest.mark.timeout(2 * EXAMPLE_S)
EXAMPLES = [example for page in PAGES for example in find_examples(page) if example.kind != "not run"]
EXIT_CODES = {"runs": 0, "endless": TIMED_OUT, "fails": HTTP_ERROR}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DocumentedService]:
    """A running service with one live prediction in its ledger."""
    with start_documented_service(tmp_path_factory.mktemp("documented")) as service:
        yield service


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_example_runs(example: Example, service: DocumentedService, tmp_path: Path) -> None:
    ended = service.run(example, tmp_path)
    said = "\n".join([example.text, ended.stdout[-2000:], ended.stderr[-2000:]])
    assert ended.returncode == EXIT_CODES[example.kind], said
    assert ended.stdout or any(path.stat().st_size for path in tmp_path.iterdir())


def test_an_example_that_is_wrong_would_be_noticed(service: DocumentedService, tmp_path: Path) -> None:
    wrong = Example("here", "sh", "runs", "", "curl http://127.0.0.1:8000/predict/cards/?limit=none")
    ended = service.run(wrong, tmp_path)
    assert ended.returncode == HTTP_ERROR
    # once an example has made a key, a call without one is refused before its query is read
    assert "urn:problem:invalid-request" in ended.stdout or "urn:problem:key-missing" in ended.stdout
