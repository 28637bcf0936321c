"""Routes as data: one list of operations makes both what aiohttp serves and the OpenAPI document that describes it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Any, Final, NamedTuple, TypeVar

from aiohttp import web
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.json_schema import JsonSchemaMode

from adapter import __version__
from adapter.admin.schemas import ErrorModel
from adapter.errors import StoreUnavailable
from adapter.server.access import USER
from adapter.server.body import BodyRefused, read_body

Choice = TypeVar("Choice", bound=StrEnum)

BODY_SECONDS = 30.0
LARGEST_BODY = 4 * 1024 * 1024
LARGEST_JSON = 256 * 1024  # of ours, which is parsed in the event loop; ten thousand ids have room


class Query(NamedTuple):
    """One query parameter."""

    name: str
    text: str
    schema: Mapping[str, Any] = {"type": "string"}


PAGING: Final = (
    Query("after", "id of the last row of the page before; the header X-Next-After tells it", {"type": "integer"}),
    Query("limit", "rows per page, 1 to 1000", {"type": "integer"}),
)


INTEGRATION: Final = Query("integration", "only this integration")


class Order(StrEnum):
    """Of a list."""

    ID = "id"
    RECENT = "recent"


BEFORE: Final = Query("before", "where the page before ended, as the header X-Next-Before tells it")


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path, for whoever calls it: a client of the API or a page of the console.

    `answer` is a model or a list of a model, to which the result of `run` is brought by its keys or attributes.
    `takes` is the model of the body, or bytes for a webhook. With `paged` the answer says where the next page begins
    if there may be one.
    """

    method: str
    path: str
    summary: str
    run: Callable[[Call], Awaitable[Any]]
    answer: Any
    query: tuple[Query, ...] = ()
    takes: type[BaseModel] | type[bytes] | None = None
    largest: int = 0  # bytes of the body; 0 for the usual bound of its kind
    errors: tuple[int, ...] = ()
    paged: bool = False

    @property
    def name(self) -> str:
        """The operationId, by which pages find it."""
        return self.run.__name__.strip("_")

    async def perform(self, call: Call) -> Answer:
        """Problem when it cannot be done."""
        try:
            result = await self.run(call)
        except StoreUnavailable as exc:
            raise Problem(503, f"the store is unavailable: {exc}".splitlines()[0]) from exc
        rows, following = result if isinstance(result, Paged) else (result, {})
        content = _models(self.answer).validate_python(rows, from_attributes=True)
        if self.paged and rows is result and len(content) == call.paging()[1]:
            following = {"after": str(content[-1].id)}
        return Answer(content, following)


@dataclass(frozen=True, slots=True)
class Call:
    """What one call asks for: path and query values, decoded, and the body as the operation takes it.

    `user` was let in by the listener; None where it asks for none.
    """

    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, Sequence[str]] = field(default_factory=dict)
    body: Any = None
    user: str | None = None

    def one(self, name: str) -> str | None:
        """The first value; None when it is absent or empty."""
        return next(iter(self.every(name)), None) or None

    def every(self, name: str) -> Sequence[str]:
        return self.query.get(name, ())

    def paging(self) -> tuple[int, int]:
        """`after` and `limit`."""
        return self.whole("after", 0, 0, 2**62), self.whole("limit", 100, 1, 1000)

    def choice(self, name: str, choices: type[Choice]) -> Choice | None:
        value = self.one(name)
        if value is not None and value not in tuple(choices):
            raise Problem(400, f"{name} is {' or '.join(choices)}")
        return choices(value) if value is not None else None

    def flag(self, name: str) -> bool | None:
        value = self.one(name)
        if value not in (None, "true", "false"):
            raise Problem(400, f"{name} is true or false")
        return None if value is None else value == "true"

    def whole(self, name: str, default: int, least: int, most: int) -> int:
        text = next(iter(self.every(name)), str(default))
        if not (text.isascii() and text.isdigit() and len(text) < 19 and least <= int(text) <= most):
            raise Problem(400, f"{name} must be a whole number from {least} to {most}")
        return int(text)


class Answer(NamedTuple):
    """`content`: the operation's model, or a list of it. `following`: the query value that asks for the next page."""

    content: Any
    following: Mapping[str, str] = {}


class Paged(NamedTuple):
    """What `run` answers where it says itself which query value asks for the next page."""

    content: Any
    following: Mapping[str, str]


@cache
def _models(answer: Any) -> TypeAdapter[Any]:
    return TypeAdapter(answer)


class Problem(Exception):
    """An error answer: a JSON object with one line."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def serve(operations: Sequence[Operation]) -> list[web.RouteDef]:
    # A bare {name} of aiohttp takes no braces, and a fingerprint may hold any.
    return [web.route(item.method, item.path.replace("}", ":[^/]+}"), _handler(item)) for item in operations]


def _handler(operation: Operation) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        query = {name: request.query.getall(name) for name in request.query}
        try:
            body = await _body(operation, request)
            answer = await operation.perform(Call(request.match_info, query, body, request.get(USER)))
        except Problem as exc:
            error = ErrorModel(error=str(exc)).model_dump_json()
            return web.Response(status=exc.status, text=error, content_type="application/json")
        headers = {f"X-Next-{name.title()}": value for name, value in answer.following.items()}
        body = _models(operation.answer).dump_json(answer.content)
        return web.Response(body=body, content_type="application/json", headers=headers)

    return handle


async def _body(operation: Operation, request: web.Request) -> Any:
    """The body, within the limits of the listener; a Problem when it is too large, too slow, broken or not as asked."""
    takes = operation.takes
    if request.can_read_body and request.content_type != "application/json":
        raise Problem(415, "a body is application/json here: send Content-Type: application/json")
    if takes is None:
        return None
    try:
        largest = operation.largest or (LARGEST_JSON if issubclass(takes, BaseModel) else LARGEST_BODY)
        body = await read_body(request, limit=min(request.client_max_size, largest), seconds=BODY_SECONDS)
        if not body and not _is_required(takes):
            return takes()
        return takes.model_validate_json(body) if issubclass(takes, BaseModel) else body
    except BodyRefused as exc:
        raise Problem(exc.status, str(exc)) from exc
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the body"
        raise Problem(400, f"{where}: {first['msg']}") from exc


def _is_required(takes: type[BaseModel] | type[bytes]) -> bool:
    """Whether there must be a body: one with nothing that must be said may be left out."""
    return not issubclass(takes, BaseModel) or any(one.is_required() for one in takes.model_fields.values())


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the operations."""
    types = {ErrorModel, *(used for operation in operations for used in (operation.answer, operation.takes))}
    models: set[Any] = types - {None, bytes}
    inputs: list[tuple[Any, JsonSchemaMode, TypeAdapter[Any]]]
    inputs = [(used, "serialization", TypeAdapter(used)) for used in models]
    found, components = TypeAdapter.json_schemas(inputs, ref_template="#/components/schemas/{model}")
    schemas = {used: schema for (used, _), schema in found.items()}
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "coc-adapter admin API", "version": __version__},
        "paths": paths,
        "components": {"schemas": components["$defs"]},
    }


def _described(operation: Operation, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r"{(\w+)}", operation.path)
    ]
    query = (*operation.query, *(PAGING if operation.paged else ()))
    for name, text, schema in query:
        parameters.append({"name": name, "in": "query", "description": text, "schema": schema})
    takes = operation.takes
    errors = {*operation.errors, 503, *((400,) if query or takes else ()), *((413,) if takes else ())}
    errors |= {415} if operation.method == "POST" else set()
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": operation.name,
        "responses": {
            "200": {"description": "OK", "content": {"application/json": {"schema": schemas[operation.answer]}}},
            **{str(code): {"description": "why not", "content": {"application/json": {"schema": schemas[ErrorModel]}}}
               for code in sorted(errors)},
        },
    }  # fmt: skip
    if parameters:
        described["parameters"] = parameters
    if takes:
        body = schemas.get(takes, {"type": "object"})
        described["requestBody"] = {"required": _is_required(takes), "content": {"application/json": {"schema": body}}}
    return described
