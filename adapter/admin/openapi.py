"""Routes as data: one list of operations makes both what aiohttp serves and the OpenAPI document that describes it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from aiohttp import web
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.json_schema import JsonSchemaMode
from pydantic_core import to_json

from adapter import __version__
from adapter.admin.schemas import ErrorModel
from adapter.errors import StoreUnavailable
from adapter.server.body import BodyBroken, BodySlow, BodyTooLarge, read_body

BODY_SECONDS = 30.0


class Query(NamedTuple):
    """One query parameter."""

    name: str
    text: str
    schema: Mapping[str, Any] = {"type": "string"}


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. `answer` is a model or a list of a model."""

    method: str
    path: str
    summary: str
    run: Callable[[Call], Awaitable[Any]]
    answer: Any
    query: tuple[Query, ...] = ()
    takes: type[BaseModel] | None = None
    takes_webhook: bool = False
    errors: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """One request, checked: path and query values, and the body as its model."""

    request: web.Request
    body: Any = None

    def one(self, name: str) -> str | None:
        return self.request.query.get(name) or None

    def paging(self) -> tuple[int, int]:
        """`after` and `limit`."""
        return self._whole("after", 0, 0, 2**62), self._whole("limit", 100, 1, 1000)

    def _whole(self, name: str, default: int, least: int, most: int) -> int:
        text = self.request.query.get(name, str(default))
        if not (text.isascii() and text.isdigit() and len(text) < 19 and least <= int(text) <= most):
            raise Problem(400, f"{name} must be a whole number from {least} to {most}")
        return int(text)


class Problem(Exception):
    """An error answer: a JSON object with one line."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def serve(operations: Sequence[Operation]) -> list[web.RouteDef]:
    return [web.route(operation.method, operation.path, _handler(operation)) for operation in operations]


def _handler(operation: Operation) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        try:
            answer = await operation.run(Call(request, await _body(operation, request)))
        except Problem as exc:
            return _error(exc.status, str(exc))
        except StoreUnavailable as exc:
            return _error(503, f"the store is unavailable: {exc}".splitlines()[0])
        headers = {}
        if isinstance(answer, Page):
            if len(answer.items) == answer.limit:
                headers["X-Next-After"] = str(answer.items[-1].id)
            answer = answer.items
        return web.Response(body=to_json(answer), content_type="application/json", headers=headers)

    return handle


def _error(status: int, message: str) -> web.Response:
    return web.Response(
        status=status, text=ErrorModel(error=message).model_dump_json(), content_type="application/json"
    )


class Page(NamedTuple):
    """At most `limit` items. Where there may be more, the header X-Next-After carries the id of the last one."""

    items: list[Any]
    limit: int


async def content(request: web.Request) -> bytes:
    """The body, within the limits of the listener; a Problem when it is too large, too slow or broken."""
    try:
        return await read_body(request, limit=request.client_max_size, seconds=BODY_SECONDS)
    except BodyTooLarge as exc:
        raise Problem(413, f"the body is larger than {request.client_max_size} bytes") from exc
    except BodySlow as exc:
        raise Problem(503, f"the body did not arrive within {BODY_SECONDS:g} s") from exc
    except BodyBroken as exc:
        raise Problem(400, str(exc)) from exc


async def _body(operation: Operation, request: web.Request) -> Any:
    if operation.takes is None:
        return None
    try:
        return operation.takes.model_validate_json(await content(request))
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the body"
        raise Problem(400, f"{where}: {first['msg']}") from exc


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the operations."""
    types = {ErrorModel, *(used for operation in operations for used in (operation.answer, operation.takes) if used)}
    inputs: list[tuple[Any, JsonSchemaMode, TypeAdapter[Any]]]
    inputs = [(used, "serialization", TypeAdapter(used)) for used in types]
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
    for name, text, schema in operation.query:
        parameters.append({"name": name, "in": "query", "description": text, "schema": schema})
    takes = operation.takes or operation.takes_webhook
    errors = {*operation.errors, 503, *((400,) if operation.query or takes else ()), *((413,) if takes else ())}
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": operation.run.__name__.strip("_"),
        "responses": {
            "200": {"description": "OK", "content": {"application/json": {"schema": schemas[operation.answer]}}},
            **{str(code): {"description": "why not", "content": {"application/json": {"schema": schemas[ErrorModel]}}}
               for code in sorted(errors)},
        },
    }  # fmt: skip
    if parameters:
        described["parameters"] = parameters
    if takes:
        body = schemas[operation.takes] if operation.takes else {"type": "object"}
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return described
