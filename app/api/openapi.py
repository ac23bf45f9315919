"""The OpenAPI 3.1 document, made from the table of contents."""

import inspect
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from app import __version__
from app.api.auth import KEY_HEADER
from app.api.problems import HTTP_CODES, MEDIA_TYPE
from app.api.route import JSON, Route
from app.errors import (
    HostUnknown,
    InvalidRequest,
    KeyInvalid,
    KeyMissing,
    OriginRefused,
    RateLimited,
    ScopeMissing,
    ServiceError,
)
from app.schemas import ListQuery, PickedOut, ProblemOut

Json = dict[str, Any]
_REF = "#/components/schemas/{model}"
# what an answer about a snapshot says of itself
_OF_SNAPSHOT = {
    "ETag": "strong, of these very bytes",
    "Cache-Control": "how long it may be used unasked",
    "Vary": "the headers that choose the form",
    "Touchline-Snapshot": "id of the artifacts behind it",
}
_MATCHES_REGEX = re.compile(r"\{(\w+):[^}]*\}")
_DESCRIPTION = (
    "Football match predictions beside the odds: precomputed, live, and what they earned. "
    "Every answer names the artifacts, the model and the age of the odds behind it. "
    "Failures are RFC 9457 problems with a stable `code`."
)
_SECURITY_SCHEMES: Json = {
    "key": {"type": "apiKey", "in": "header", "name": KEY_HEADER, "description": "prefix.secret, of scripts/keys"},
    "bearer": {"type": "http", "scheme": "bearer", "description": "the same key"},
}
_BODY_STATUSES = (400, 408, 413, 415)
_HEAD_STATUSES = (414, 431)  # of any request: its address or its headers are too long
_SAFE_METHODS = frozenset({"GET", "HEAD"})
_GUARDED = (KeyMissing, KeyInvalid, ScopeMissing, RateLimited)


def document(routes: Iterable[Route]) -> Json:
    """Describe every route."""
    listed = list(routes)
    schemas = _Schemas(listed)
    paths: dict[str, Json] = {}
    for route in listed:
        paths.setdefault(_MATCHES_REGEX.sub(r"{\1}", route.path), {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Touchline", "version": __version__, "description": _DESCRIPTION},
        "paths": paths,
        "components": {"schemas": schemas.definitions, "securitySchemes": _SECURITY_SCHEMES},
    }


class _Schemas:
    """The schemas of all models, by name, and references to them."""

    def __init__(self, routes: Iterable[Route]) -> None:
        outs = {route.gives for route in routes if route.gives} | {ProblemOut, PickedOut}
        bodies = {model for route in routes for place, model in route.takes.items() if place == "body"}
        wanted = [(model, "serialization") for model in outs] + [(model, "validation") for model in bodies]
        wanted.sort(key=lambda pair: pair[0].__name__)
        self._refs, found = models_json_schema(wanted, ref_template=_REF)  # type: ignore[arg-type]  # the modes are literals
        self.definitions: Json = found.get("$defs", {})

    def ref(self, model: type[BaseModel], mode: str) -> Json:
        return dict(self._refs[model, mode])  # type: ignore[index]  # as above


def _operation(route: Route, schemas: _Schemas) -> Json:
    operation: Json = {
        "operationId": route.handler.__name__,
        "summary": route.summary,
        **_description(route),
        "tags": [inspect.unwrap(route.handler).__module__.rpartition(".")[2]],
        "parameters": [*_parameters(route, "path"), *_parameters(route, "query"), *_conditions(route)],
        "responses": _responses(route, schemas),
        # a key with the scope, either way; on loopback, where no key was made, none is asked for
        "security": [{name: [str(route.scope)]} for name in _SECURITY_SCHEMES] if route.scope else [],
    }
    if "body" in route.takes:
        content = {JSON: {"schema": schemas.ref(route.takes["body"], "validation")}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _description(route: Route) -> Json:
    _, _, more = (inspect.getdoc(route.handler) or "").partition("\n\n")
    return {"description": more} if more else {}


def _parameters(route: Route, place: str) -> list[Json]:
    if place not in route.takes:
        return []
    schema = route.takes[place].model_json_schema(by_alias=True)
    definitions = schema.get("$defs", {})
    required = set(schema.get("required", ()))
    return [
        _parameter(place, name, _inlined(member, definitions), is_required=name in required)
        for name, member in schema["properties"].items()
    ]


def _conditions(route: Route) -> list[Json]:
    if route.cached_response is None:
        return []
    return [{"name": "If-None-Match", "in": "header", "schema": {"type": "string"}, "description": "tags at hand: 304"}]


def _parameter(place: str, name: str, schema: Json, *, is_required: bool) -> Json:
    parameter: Json = {"name": name, "in": place, "required": is_required, "schema": schema}
    if "description" in schema:
        parameter["description"] = schema.pop("description")
    if schema.pop("deprecated", False):
        parameter["deprecated"] = True
    return parameter


def _inlined(member: Json, definitions: Mapping[str, Json]) -> Json:
    """A schema without references, and without null: what is not there is simply left out of a URL."""
    schema = {key: value for key, value in member.items() if key != "title"}
    options = [option for option in schema.pop("anyOf", []) if option.get("type") != "null"]
    for option in options:
        schema |= option
    if "$ref" in schema:
        schema |= definitions[schema.pop("$ref").rpartition("/")[2]]
    if schema.get("default", ...) is None:
        del schema["default"]
    schema.pop("title", None)
    return schema


def _responses(route: Route, schemas: _Schemas) -> Json:
    success: Json = {"description": route.summary}
    content = {media: _content(route, media, schemas) for media in route.media}
    if content:
        success["content"] = content
    if route.links:
        success["links"] = {operation: _link(operation, pointer) for operation, pointer in route.links}
    if route.status == 202:
        success["headers"] = {"Location": _header("where the task is")}
    if route.cached_response is None:
        return {str(route.status): success, **_failures(route, schemas)}
    success["headers"] = {name: _header(said) for name, said in _OF_SNAPSHOT.items()}
    unchanged = {"description": "the client has it: its entity tag still holds", "headers": success["headers"]}
    return {str(route.status): success, "304": unchanged, **_failures(route, schemas)}


def _link(operation: str, pointer: str) -> Json:
    parameter = pointer.rpartition("/")[2]
    return {"operationId": operation, "parameters": {parameter: f"$response.body#{pointer}"}}


def _header(description: str) -> Json:
    return {"description": description, "schema": {"type": "string"}}


def _content(route: Route, media: str, schemas: _Schemas) -> Json:
    if media.startswith("text/"):
        return {"schema": {"type": "string"}}
    if media != JSON:
        return {}  # bytes
    if route.gives is None:
        return {"schema": {"type": "object"}}
    whole = schemas.ref(route.gives, "serialization")
    if not issubclass(route.takes.get("query", BaseModel), ListQuery):
        return {"schema": whole}
    return {"schema": {"anyOf": [whole, schemas.ref(PickedOut, "serialization")]}}


def _failures(route: Route, schemas: _Schemas) -> Json:
    by_status: dict[int, list[type[ServiceError]]] = {}
    invalid: tuple[type[ServiceError], ...] = (InvalidRequest,) if route.takes else ()
    for error in route.raises + invalid + (_GUARDED if route.scope else ()):
        by_status.setdefault(error.status, []).append(error)
    if route.method not in _SAFE_METHODS:
        by_status.setdefault(OriginRefused.status, []).append(OriginRefused)
    by_status.setdefault(HostUnknown.status, []).append(HostUnknown)
    said = {status: "; ".join(f"{e.code}: {e.title}" for e in errors) for status, errors in by_status.items()}
    if "body" in route.takes:
        said |= {status: HTTP_CODES[status] for status in _BODY_STATUSES}
    said |= {status: HTTP_CODES[status] for status in _HEAD_STATUSES}
    if route.answer and JSON in route.media and route.method == "GET":
        said |= {406: HTTP_CODES[406]}
    content = {MEDIA_TYPE: {"schema": schemas.ref(ProblemOut, "serialization")}}
    return {str(status): {"description": said[status], "content": content} for status in sorted(said)}
