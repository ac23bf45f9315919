"""The API keeps to its own description under requests nobody thought of, with keys and without."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from hypothesis import settings as examples
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from app.api.openapi import document
from app.api.routes import ROUTES

# what refuses a request before anybody looks at its parameters counts as a refusal: body or address too long
REFUSALS = ["400", "401", "403", "404", "405", "406", "409", "413", "414", "415", "422", "428", "429", "431", "5xx"]
CONFIG = SchemathesisConfig.from_dict({"checks": {"negative_data_rejection": {"expected-statuses": REFUSALS}}})
# an answer of /events has no end
schema = schemathesis.openapi.from_dict(document(ROUTES), config=CONFIG).exclude(path="/events")
# a cursor is a word only the service can make, so not all that fits is accepted
EXCLUDED = [positive_data_acceptance]
FEW = examples(
    max_examples=15,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)


@pytest.mark.timeout(300)
@schema.parametrize()
@FEW
def test_answers_fit_the_description(case: schemathesis.Case, keyed_url: tuple[str, str]) -> None:
    """No undescribed status, no body that does not fit, no 500; what breaks the schema is refused."""
    url, text = keyed_url
    case.call_and_validate(base_url=url, headers={"X-API-Key": text}, excluded_checks=EXCLUDED)


@pytest.mark.timeout(300)
@schema.parametrize()
@FEW
def test_answers_fit_the_description_without_keys(case: schemathesis.Case, open_url: str) -> None:
    """A service on loopback asks for no key, though the description says how one is shown."""
    case.call_and_validate(base_url=open_url, excluded_checks=[*EXCLUDED, ignored_auth])


@pytest.mark.timeout(600)
@pytest.mark.parametrize("with_keys", [True, False])
def test_tasks_are_what_was_submitted(
    with_keys: bool,
    keyed_url: tuple[str, str],
    open_url: str,
) -> None:
    """Random walks along the links: a task that was submitted is polled, withdrawn, polled again."""
    url, text = keyed_url if with_keys else (open_url, "")

    class Walk(schema.as_state_machine()):  # type: ignore[misc]  # a class made at run time
        def get_call_kwargs(self, case: schemathesis.Case) -> dict[str, object]:  # noqa: ARG002
            return {"base_url": url, "headers": {"X-API-Key": text} if with_keys else {}}

        def validate_response(self, response: object, case: schemathesis.Case, **kwargs: object) -> None:  # noqa: ARG002
            case.validate_response(response, excluded_checks=[*EXCLUDED, *([] if with_keys else [ignored_auth])])

    Walk.run(
        settings=examples(
            max_examples=20,
            stateful_step_count=6,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
    )
