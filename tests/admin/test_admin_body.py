"""Bodies on the admin API: limited like webhooks, and refused in JSON."""

from __future__ import annotations

import gzip
import io
import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import BaseModel

from adapter.admin.openapi import Call, Operation, document, serve


class Taken(BaseModel):
    ids: list[int]


async def run(call: Call) -> Taken:
    body: Taken = call.body
    return body


OPERATION = Operation(method="POST", path="/api", summary="take", run=run, answer=Taken, takes=Taken)
JSON = {"Content-Type": "application/json"}
GZIP = {"Content-Encoding": "gzip"}


@pytest.mark.parametrize(
    ("body", "headers", "status", "error"),
    [
        (b'{"ids": [1]}', {}, 200, ""),
        (gzip.compress(b'{"ids": [1]}'), GZIP, 200, ""),
        (b'{"ids": [' + b"1," * 600 + b"1]}", {}, 413, "the body is larger than 1000 bytes"),
        (gzip.compress(b" " * 100_000), GZIP, 413, "the body is larger than 1000 bytes"),
        (b"not gzip", GZIP, 400, "the body cannot be read"),
        (b"{}", {"Content-Encoding": "compress"}, 400, "this content encoding is not accepted"),
        (b'{"ids": 1}', {}, 400, "ids: "),
        (b"", {}, 400, "the body: "),
        (b'{"ids": [1]}', {"Content-Type": "application/json; charset=utf-8"}, 200, ""),
        (b'{"ids": [1]}', {"Content-Type": "text/plain"}, 415, "a body is application/json here"),
        (
            b'{"ids": [1]}',
            {"Content-Type": "application/x-www-form-urlencoded"},
            415,
            "a body is application/json here",
        ),
        (b'{"ids": [1]}', {"Content-Type": "application/octet-stream"}, 415, "a body is application/json here"),
        (b'{"ids": [1]}', {"Content-Type": "application/json; charset=klingon"}, 415, "the charset 'klingon' is not"),
    ],
    ids=[
        "plain",
        "gzip",
        "too large",
        "a bomb",
        "no gzip",
        "unknown encoding",
        "wrong type",
        "empty",
        "a charset",
        "plain text",
        "a form",
        "no type",
        "another charset",
    ],
)
async def test_a_body_is_read_within_limits(body: bytes, headers: dict[str, str], status: int, error: str) -> None:
    app = web.Application(client_max_size=1000)
    app.add_routes(serve([OPERATION]))
    async with TestClient(TestServer(app)) as client:
        answer = await client.post("/api", data=body, headers=JSON | headers)
        assert answer.status == status
        assert answer.content_type == "application/json"
        said = json.loads(await answer.text())
        assert said == {"ids": [1]} if status == 200 else said["error"].startswith(error)


async def test_json_that_would_hold_the_event_loop_is_refused() -> None:
    app = web.Application()
    app.add_routes(serve([OPERATION]))
    async with TestClient(TestServer(app)) as client:
        for count, status in ((10_000, 200), (200_000, 413)):
            body = io.BytesIO(json.dumps({"ids": [10**9 + number for number in range(count)]}).encode())
            assert (await client.post("/api", data=body, headers={"Content-Type": "application/json"})).status == status


def test_the_document_says_so() -> None:
    assert {"200", "400", "413", "415", "503"} == document([OPERATION])["paths"]["/api"]["post"]["responses"].keys()
