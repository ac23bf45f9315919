"""The API keeps to its own description under requests nobody thought of."""

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from hypothesis import settings as examples
from schemathesis.specs.openapi.checks import positive_data_acceptance

from app.api.openapi import document
from app.api.routes import ROUTES
from tests.support.build_artifacts import write_artifacts
from tests.support.build_keys import a_key, as_setting
from tests.support.live import settings_for
from tests.support.models import FEATURES
from tests.support.threaded import served

# an answer of /events has no end
schema = schemathesis.openapi.from_dict(document(ROUTES)).exclude(path="/events")
TEXT, KEY = a_key()


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[str]:
    """The API on a port, with a worker."""
    home = tmp_path_factory.mktemp("requests")
    write_artifacts(home / "artifacts", feature_names=FEATURES)
    values = {"artifacts_uri": str(home / "artifacts"), "touchline_home": home, "model_aliases": ("champion",)}
    values["api_keys"] = as_setting(KEY)
    with served(settings_for(redis_url, **values), with_worker=True) as url:
        yield url


@pytest.mark.timeout(120)
@schema.parametrize()
@examples(
    max_examples=15,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)
def test_answers_fit_the_description(case: schemathesis.Case, base_url: str) -> None:
    """No undescribed status, no body that does not fit, no 500; what breaks the schema is refused.

    That all that fits is accepted is not asked: a cursor is a word only the service can make, and 7.0 is an integer to
    JSON Schema but not to whoever must tell 2**53 from 2**53 + 1.
    """
    case.call_and_validate(base_url=base_url, headers={"X-API-Key": TEXT}, excluded_checks=[positive_data_acceptance])
