"""The description of the API is sound, complete and true."""

from collections.abc import Iterator
from typing import Any

import orjson
from openapi_spec_validator import OpenAPIV31SpecValidator

from app.api.openapi import document
from app.api.routes import ROUTES
from app.main import create_app
from app.settings import Settings

PROMISED = """
GET /predict/predictions/
GET /predict/precomputed/{match_id}
GET /predict/cards/
GET /predict/cards/sql
GET /predict/odds/
GET /predict/region-roi/
GET /predict/roi/
GET /predict/facets/
GET /predict/{match_id}
POST /predict/async/
GET /predict/model/info
GET /monitoring/task_status/{task_id}
GET /monitoring/arq/queues
GET /monitoring/arq/workers
GET /monitoring/drift
POST /sql
GET /events
GET /healthcheck/
GET /livez
GET /readyz
GET /metrics
GET /docs
GET /openapi.json
"""


def test_document_is_valid_openapi_3_1() -> None:
    OpenAPIV31SpecValidator(orjson.loads(orjson.dumps(document(ROUTES)))).validate()


def test_every_promised_endpoint_is_served_and_described() -> None:
    described = {
        f"{method.upper()} {path}" for path, operations in document(ROUTES)["paths"].items() for method in operations
    }
    assert set(PROMISED.split("\n")) - {""} <= described


def test_every_route_of_the_application_is_described() -> None:
    """Beside HEAD, the redirects to the slash, and the files of the docs page."""
    paths = document(ROUTES)["paths"]
    for route in create_app(Settings()).router.routes():
        resource = route.resource
        assert resource is not None
        path = resource.canonical
        if route.method == "HEAD" or path.startswith("/docs/static"):
            continue
        assert path in paths or f"{path}/" in paths, path


def test_operations_have_a_name_a_summary_and_one_shape_of_failure() -> None:
    names = []
    for operations in document(ROUTES)["paths"].values():
        for operation in operations.values():
            names.append(operation["operationId"])
            assert operation["summary"]
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    schema = response["content"]["application/problem+json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/ProblemOut"}
    assert len(set(names)) == len(names)


def test_every_operation_says_what_the_head_of_a_request_can_break() -> None:
    for route in ROUTES:
        (operation,) = document([route])["paths"].popitem()[1].values()
        assert {"414", "421", "431"} <= operation["responses"].keys()
        assert ("400" in operation["responses"]) == ("body" in route.takes)


def test_what_is_always_refused_is_not_offered() -> None:
    described = document(ROUTES)["paths"]
    names = {
        path: {each["name"] for each in described[path]["get"]["parameters"]}
        for path in described
        if "get" in described[path]
    }
    assert "as_of" in names["/predict/cards/"]
    assert "as_of" not in names["/predict/cards/sql"]


def test_query_parameters_know_no_null() -> None:
    """What is not there is left out of a URL; `null` would be a word."""
    text = orjson.dumps([op.get("parameters") for ops in document(ROUTES)["paths"].values() for op in ops.values()])
    assert b'"null"' not in text
    assert b"$ref" not in text


def enumerated(node: Any) -> Iterator[Any]:
    """Every value that an `enum` or `const` of the document lists."""
    if isinstance(node, dict):
        yield from node.get("enum", [])
        yield from [node["const"]] if isinstance(node.get("const"), str) else []
        node = list(node.values())
    if isinstance(node, list):
        for part in node:
            yield from enumerated(part)


def test_no_value_of_an_enumeration_has_a_space() -> None:
    values = {value for value in enumerated(document(ROUTES)) if isinstance(value, str)}
    assert {"too_few", "no_data", "not_configured", "failed"} <= values
    assert {value for value in values if " " in value} == set()
