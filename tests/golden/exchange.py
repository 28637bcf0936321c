"""One request and its answer as text, in the form of `curl -v`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
from yarl import URL

from tests.golden.normal import Rule, rule

# The time of the answer.
DATE = rule(r"^(< Date:) .*$", r"\1 DATE")
# The length of a body in which placeholders replace text.
LENGTH = rule(r"^(< Content-Length:) \d+$", r"\1 N")


async def exchange(
    http: aiohttp.ClientSession,
    base: str,
    request: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    *,
    rules: tuple[Rule, ...] = (),
    pretty: bool = False,
) -> str:
    """Send `METHOD /path`; return request and answer as text.

    `rules` are applied to the answer's body; its length is then replaced too. `pretty`: JSON on many lines.
    """
    method, _, path = request.partition(" ")
    given = {"Content-Type": "application/json"} | dict(headers or {}) if body else dict(headers or {})
    url = URL(base + path, encoded=True)
    async with http.request(method, url, data=body or None, headers=given, allow_redirects=False) as answer:
        text = await answer.text()
        heads = "".join(sorted(f"< {name.decode()}: {value.decode()}\n" for name, value in answer.raw_headers))
        response = f"< {answer.status} {answer.reason}\n{heads}"
    if pretty:
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"
    for one in rules:
        text = one.on(text)
    response = LENGTH.on(response) if rules else response
    request_lines = f"> {request}\n" + "".join(f"> {name}: {value}\n" for name, value in given.items())
    sent = f"{_shown(body)}\n" if body else ""
    return DATE.on(f"{request_lines}{sent}{response}{text}{'' if text.endswith(chr(10)) or not text else chr(10)}")


def _shown(body: bytes) -> str:
    return body.decode(errors="replace") if len(body) <= 500 else f"({len(body)} bytes)"


def raw(answer: bytes) -> str:
    """An unchanged answer, except for its date."""
    return rule(r"^(Date:) .*$", r"\1 DATE").on(answer.decode().replace("\r\n", "\n"))


@asynccontextmanager
async def unfinished(port: int, path: str) -> AsyncIterator[asyncio.StreamReader]:
    """A POST in progress whose body does not arrive; the client disconnects at the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: 100\r\nExpect: 100-continue\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        yield reader
    finally:
        writer.close()
        await writer.wait_closed()
