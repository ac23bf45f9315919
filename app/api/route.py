"""One row of the table of contents: what a handler takes and gives, read once from its own signature."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, get_origin, get_type_hints

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from pydantic import BaseModel, TypeAdapter, ValidationError

from app.api.auth import authorize
from app.api.transport import send_continue
from app.auth.keys import Scope
from app.errors import InvalidRequest, ServiceError

ModelHandler = Callable[..., Awaitable[BaseModel | web.StreamResponse]]
Reader = Callable[[web.Request], Awaitable[dict[str, Any] | bytes]]
JSON = "application/json"
BODY_TIMEOUT_S = 10.0  # for one small object
_PLAIN = "identity"
_PLACES = ("path", "query", "body")


@dataclass(frozen=True, slots=True)
class Route:
    """A method and path, the handler behind it, and what can come back.

    The handler's parameters named `path`, `query` and `body` are models and are parsed for it; a model that it
    returns is written as JSON. A handler that writes its own response says in `answer` what is in it.
    """

    method: str
    path: str
    handler: ModelHandler
    raises: tuple[type[ServiceError], ...] = ()
    status: int = 200
    answer: type[BaseModel] | None = None
    media: tuple[str, ...] = (JSON,)
    scope: Scope | None = Scope.READ  # None: open to everybody
    cached_response: Callable[[web.Request], web.StreamResponse | None] | None = None  # one that needs no handler
    links: tuple[tuple[str, str], ...] = ()  # what can be asked next: operation, and where its parameter stands
    takes: dict[str, type[BaseModel]] = field(init=False)
    gives: type[BaseModel] | None = field(init=False)

    def __post_init__(self) -> None:
        hints = get_type_hints(self.handler)
        gives = hints.pop("return", None)
        hints.pop("request", None)
        for name, hint in hints.items():
            if name not in _PLACES or not (isinstance(hint, type) and issubclass(hint, BaseModel)):
                raise TypeError(f"{self.handler.__name__}: a parameter is request, path, query or body; not {name}")
        is_model = isinstance(gives, type) and issubclass(gives, BaseModel)
        object.__setattr__(self, "takes", hints)
        object.__setattr__(self, "gives", self.answer or (gives if is_model else None))

    @property
    def summary(self) -> str:
        """The first line of the handler's docstring."""
        return (inspect.getdoc(self.handler) or "").partition("\n")[0]

    def endpoint(self) -> Handler:
        """Return the handler as aiohttp calls it: authorized first, then its arguments parsed."""
        readers = [(name, _READERS[name](model), TypeAdapter(model)) for name, model in self.takes.items()]

        async def answer(request: web.Request) -> web.StreamResponse:
            if self.scope is not None:
                await authorize(request, self.scope)
            if self.cached_response is not None and (cached := self.cached_response(request)) is not None:
                return cached
            arguments = {name: _parse(name, adapter, await read(request)) for name, read, adapter in readers}
            result = await self.handler(request, **arguments)
            if isinstance(result, web.StreamResponse):
                return result
            return model_response(result, status=self.status)

        return answer


def model_response(model: BaseModel, *, status: int = 200) -> web.Response:
    """Return a model as JSON."""
    body = model.__pydantic_serializer__.to_json(model, by_alias=True)
    return web.Response(body=body, status=status, content_type=JSON)


def _path_reader(_: type[BaseModel]) -> Reader:
    async def read(request: web.Request) -> dict[str, str]:
        return dict(request.match_info)

    return read


def _query_reader(model: type[BaseModel]) -> Reader:
    fields = model.model_fields.items()
    several = {field.alias or name for name, field in fields if get_origin(field.annotation) is tuple}

    async def read(request: web.Request) -> dict[str, Any]:
        query = request.query
        repeated = sorted(name for name in set(query) - several if len(query.getall(name)) > 1)
        if repeated:
            raise InvalidRequest(f"Given more than once: {', '.join(repeated)}.")
        return {name: query.getall(name) if name in several else query[name] for name in query}

    return read


def _body_reader(_: type[BaseModel]) -> Reader:
    return _read_body


async def _read_body(request: web.Request) -> bytes:
    if request.content_type != JSON:
        raise web.HTTPUnsupportedMediaType(text=f"The body must be {JSON}.")
    if request.headers.get(hdrs.CONTENT_ENCODING, _PLAIN).lower() != _PLAIN:
        raise web.HTTPUnsupportedMediaType(
            text="The body must come without a Content-Encoding.", headers={hdrs.ACCEPT_ENCODING: _PLAIN}
        )
    await send_continue(request)
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout(text=f"The body did not come within {BODY_TIMEOUT_S:g} s.") from None
    except web.RequestPayloadError:
        raise web.HTTPBadRequest(text="The body is cut off, or its chunks cannot be read.") from None


_READERS: dict[str, Callable[[type[BaseModel]], Reader]] = {
    "path": _path_reader,
    "query": _query_reader,
    "body": _body_reader,
}


def _parse(place: str, adapter: TypeAdapter[BaseModel], raw: dict[str, Any] | bytes) -> BaseModel:
    try:
        return adapter.validate_json(raw) if isinstance(raw, bytes) else adapter.validate_python(raw)
    except ValidationError as error:
        faults = [
            {"in": place, "at": ".".join(map(str, fault["loc"])), "message": fault["msg"]} for fault in error.errors()
        ]
        first = faults[0]
        where = f"{place} {first['at']}".strip()
        raise InvalidRequest(f"{where}: {first['message']}.", errors=faults) from None
