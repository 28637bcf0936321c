"""Routes as data: one list of operations makes both what aiohttp serves and the OpenAPI document that describes it."""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from aiohttp import web
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.json_schema import models_json_schema
from pydantic_core import to_json

from adapter import __version__
from adapter.admin.schemas import ErrorModel
from adapter.errors import StoreUnavailable
from adapter.server.body import BodyBroken, BodySlow, BodyTooLarge, read_body

BODY_SECONDS = 30.0
REF = "#/components/schemas/{model}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One query parameter; `kind` is a JSON Schema type."""

    name: str
    text: str
    kind: str = "string"
    choices: tuple[str, ...] = ()
    repeated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path. `answer` is a model, a list of a model, or dict for a plain object."""

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

    def whole(self, name: str, default: int, least: int, most: int) -> int:
        """A whole number within bounds; 400 otherwise."""
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
            headers, answer = answer.headers, answer.items
        return web.Response(body=to_json(answer), content_type="application/json", headers=headers)

    return handle


def _error(status: int, message: str) -> web.Response:
    return web.Response(
        status=status, text=ErrorModel(error=message).model_dump_json(), content_type="application/json"
    )


@dataclass(frozen=True, slots=True)
class Page:
    """A list, and where the next page begins; the header X-Next-After carries that."""

    items: list[Any]
    next_after: int | None

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.next_after is None else {"X-Next-After": str(self.next_after)}


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
    models: set[type[BaseModel]] = {ErrorModel, *(model for one in operations for model in _models(one))}
    _, schemas = models_json_schema([(model, "serialization") for model in models], ref_template=REF)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "coc-adapter admin API", "version": __version__},
        "paths": paths,
        "components": {"schemas": schemas["$defs"]},
    }


def _described(operation: Operation) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _path_names(operation.path)
    ]
    for query in operation.query:
        schema: dict[str, Any] = {"type": query.kind} | ({"enum": list(query.choices)} if query.choices else {})
        if query.repeated:
            schema = {"type": "array", "items": schema}
        parameters.append({"name": query.name, "in": "query", "description": query.text, "schema": schema})
    takes = operation.takes or operation.takes_webhook
    errors = {*operation.errors, 503, *((400,) if operation.query or takes else ()), *((413,) if takes else ())}
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": operation.run.__name__.strip("_"),
        "responses": {
            "200": {"description": "OK", "content": {"application/json": {"schema": _schema(operation.answer)}}},
            **{str(code): {"description": "why not", "content": {"application/json": {"schema": _schema(ErrorModel)}}}
               for code in sorted(errors)},
        },
    }  # fmt: skip
    if parameters:
        described["parameters"] = parameters
    if takes:
        schema = _schema(operation.takes) if operation.takes else {"type": "object"}
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return described


def _schema(answer: Any) -> dict[str, Any]:
    if get_origin(answer) is list:
        return {"type": "array", "items": _schema(get_args(answer)[0])}
    if isinstance(answer, type) and issubclass(answer, BaseModel):
        return {"$ref": REF.format(model=answer.__name__)}
    return TypeAdapter(answer).json_schema()


def _models(operation: Operation) -> list[type[BaseModel]]:
    types_used = [operation.answer, *get_args(operation.answer), operation.takes]
    return [item for item in types_used if isinstance(item, type) and not isinstance(item, types.GenericAlias)
            and issubclass(item, BaseModel)]  # fmt: skip


def _path_names(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]
