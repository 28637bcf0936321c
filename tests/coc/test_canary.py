"""No secret leaves the client: in every failure, all output is searched for canaries that stand for the secrets."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import html
import json
import logging
import socket
import ssl
import traceback
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import aiohttp
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapter.coc.client import MARK, build_request
from adapter.coc.endpoint import AkSk, Endpoint, Token
from adapter.coc.verdict import Action, read_answer
from adapter.secret import Redactor, Secret
from tests.coc.servers import Request, answer, client_of, connect_proxy, reset, scripted_server
from tests.tls import Authority

KEY = 'c4nary/KEY "1"&<é>'
ACCESS, SECRET, SECURITY = "C4NARYACCESS", "c4nary-secret-key", "c4nary+security=token"
TOKEN = "c4nary.token.value"
PASSWORD = "c4nary@pass/word"
MARKS = ("c4nary", "C4NARY", *(base64.b64encode(word.encode()).decode() for word in (KEY, SECRET, TOKEN, PASSWORD)))

AUTHS: dict[str, Any] = {
    "aksk": AkSk(
        access_key=Secret(value=ACCESS),
        secret_key=Secret(value=SECRET),
        security_token=Secret(value=SECURITY),
        project_id="p",
    ),
    "token": Token(token=Secret(value=TOKEN)),
}


def echo(request: Request) -> str:
    """Everything that a server could echo, in many encodings."""
    words = [request.line, json.dumps(request.headers), *(f"{name}: {value}" for name, value in request.headers)]
    known = (TOKEN,) if "x-auth-token" in words[1].lower() else (ACCESS, SECRET, SECURITY)
    for secret in (KEY, *known):
        words += [secret, quote(secret, safe=""), quote(secret, safe="").lower(), quote_plus(secret), repr(secret)]
        words += [json.dumps(secret), json.dumps(secret).replace("/", "\\/"), html.escape(secret)]
        words += [base64.b64encode(secret.encode()).decode()]
    return " ; ".join(words)


def answering_with(make: Any) -> Any:
    """A script that answers with `make(echo)` and closes the connection."""

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(make(echo(request)))
        await writer.drain()
        writer.close()

    return script


def in_json(status: int, code: str) -> Any:
    return lambda words: answer(status, json.dumps({"error_code": code, "error_msg": words}).encode())


async def _reset(_: Request, writer: asyncio.StreamWriter) -> None:
    reset(writer)


async def _silent(_: Request, __: asyncio.StreamWriter) -> None:
    return


FAILURES: dict[str, Any] = {
    "accepted": answering_with(in_json(200, "COC.00000000")),
    "400": answering_with(in_json(400, "COC.00000001")),
    "400 with the secrets as its code": answering_with(
        lambda words: answer(400, json.dumps({"error_code": words}).encode())
    ),
    "401": answering_with(in_json(401, "APIGW.0301")),
    "403": answering_with(in_json(403, "APIGW.0302")),
    "404": answering_with(
        lambda words: answer(404, b'{"error":{"code":"x","message":' + json.dumps(words).encode() + b"}}")
    ),
    "302": answering_with(lambda words: answer(302, b"", "Location: /" + quote(words))),
    "407": answering_with(lambda words: answer(407, words.encode())),
    "429": answering_with(in_json(429, "APIGW.0308")),
    "500": answering_with(lambda words: answer(500, f"<html><h1>{html.escape(words)}</h1></html>".encode())),
    "200 html": answering_with(lambda words: answer(200, f"<a href='{words}'>{words}</a>".encode())),
    "200 escaped": answering_with(lambda words: answer(200, json.dumps([words]).encode())),
    "500 cut off within a secret": answering_with(
        lambda _: answer(500, b"POST /v1/event/huawei/custom/c4nary%2F", length=999)
    ),
    "headers": answering_with(lambda words: answer(500, b"", f"X-Echo: {quote(words)}", f"Date: {quote(words)}")),
    "status line": answering_with(lambda words: f"HTTP/1.1 999 {quote(words)}\r\n\r\n".encode()),
    "no http": answering_with(lambda words: quote(words).encode() + b"\r\n\r\n"),
    "half": answering_with(lambda words: answer(200, words.encode(), length=10**6)),
    "bad chunks": answering_with(
        lambda words: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + words.encode() + b"\r\n"
    ),
    "reset": _reset,
    "silent": _silent,
}


class Output:
    """All log records, warnings and unhandled errors of a test."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def search(self, *more: object) -> None:
        text = "\n".join([*self.words, *map(str, more), *map(repr, more)])
        assert not [mark for mark in MARKS if mark in text]


@pytest.fixture
async def output(caplog: pytest.LogCaptureFixture) -> AsyncIterator[Output]:
    caplog.set_level(logging.DEBUG)
    output = Output()
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.set_exception_handler(lambda _, context: output.words.append(repr(context)))
    yield output
    loop.set_debug(False)
    output.words += [record.getMessage() + str(record.exc_text) for record in caplog.records]
    output.search()


@pytest.mark.parametrize("auth", AUTHS)
async def test_the_request_template_prints_no_secret(auth: str) -> None:
    endpoint = Endpoint(base_url="https://coc.test", integration_key=Secret(value=KEY), auth=AUTHS[auth])
    async with aiohttp.ClientSession() as session:
        Output().search(endpoint, build_request(endpoint, session))


@pytest.mark.parametrize("auth", AUTHS)
@pytest.mark.parametrize("failure", FAILURES)
async def test_no_answer_leads_to_a_secret_in_the_output(output: Output, failure: str, auth: str) -> None:
    async with (
        scripted_server(FAILURES[failure]) as coc,
        client_of(coc.port, integration_key=Secret(value=KEY), auth=AUTHS[auth], timeout=0.5) as client,
    ):
        verdict = await client.report(b"{}")
        output.search(verdict, client)
    assert verdict.message or verdict.code
    assert len(coc.requests) == 1


async def unreachable(stack: AsyncExitStack, kind: str, tmp_path: Path) -> tuple[str | int, dict[str, Any]]:
    """(base_url, settings) for one kind of connection failure."""
    proxied = f"http://user:{quote(PASSWORD, safe='')}@127.0.0.1"
    if kind == "dns":
        return "https://no-such-host.invalid", {}
    if kind in ("refused", "proxy refused"):
        bound = stack.enter_context(contextlib.closing(socket.socket()))
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        return (port, {}) if kind == "refused" else ("https://127.0.0.1:9", {"proxy_url": f"{proxied}:{port}"})
    if kind == "link-local":
        return "http://0xa9fea9fe", {}
    if kind == "tls":
        pair = Authority.make(tmp_path).issue("server")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.cert, pair.key)
        coc = await stack.enter_async_context(scripted_server(_silent, context))
        return f"https://127.0.0.1:{coc.port}", {}
    if kind == "bad proxy url":
        return "https://127.0.0.1:9", {"proxy_url": Secret(value=f"socks5://user:{PASSWORD}@127.0.0.1:1")}
    if kind == "key in base_url":
        return f"https://user:{quote(SECRET)}@127.0.0.1:9", {}
    proxy = await stack.enter_async_context(connect_proxy(refusing=int(kind)))
    return "https://127.0.0.1:9", {"proxy_url": Secret(value=f"{proxied}:{proxy.port}")}


@pytest.mark.parametrize(
    "kind",
    ["dns", "refused", "proxy refused", "link-local", "tls", "bad proxy url", "key in base_url", "407", "503", "301"],
)
async def test_no_connection_failure_leads_to_a_secret_in_the_output(output: Output, kind: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        base, settings = await unreachable(stack, kind, tmp_path)
        settings |= {"integration_key": Secret(value=KEY), "auth": AUTHS["aksk"]}
        client = await stack.enter_async_context(client_of(base, **settings))
        verdict = await client.report(b"{}")
        output.search(verdict, client)
    assert verdict.action is not Action.ACCEPTED
    assert verdict.message


async def test_a_traceback_of_a_report_has_no_secret(output: Output) -> None:
    async with (
        scripted_server(_silent) as coc,
        client_of(coc.port, integration_key=Secret(value=KEY), auth=AUTHS["aksk"]) as client,
    ):
        task = asyncio.create_task(client.report(b"{}"))
        while not coc.requests:
            await asyncio.sleep(0.01)
        stack = "".join(map(str, task.get_stack())) + repr(task)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            stack += traceback.format_exc()
        output.search(stack)


_SECRETS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=8, max_size=40)


@given(secret=_SECRETS, before=st.text(max_size=20), after=st.text(max_size=20))
@example(secret="\\/\\/\\/\\/", before="", after="")
def test_a_secret_is_redacted_in_every_spelling(secret: str, before: str, after: str) -> None:
    redact = Redactor([secret], MARK)
    spellings = [secret, quote(secret, safe="~"), quote_plus(secret), json.dumps(secret)[1:-1], html.escape(secret)]
    for spelling in spellings:
        # The text around it may contain or complete another spelling, which is then redacted too.
        text = redact(f"{before} {spelling} {after}")
        assert spelling not in text.replace(MARK, "\0")
        assert MARK in text


@given(secret=_SECRETS, cut=st.integers(5, 39), before=st.text("xyz", max_size=20))
def test_a_secret_that_is_cut_off_at_the_end_is_redacted(secret: str, cut: int, before: str) -> None:
    head = secret[:cut]
    text = Redactor([secret], MARK)(f"{before} {head}")
    assert text.endswith(MARK)


def test_a_message_is_redacted_before_it_is_cut_to_length() -> None:
    body = json.dumps({"error_code": "x", "error_msg": "y" * 490 + SECRET}).encode()
    assert SECRET[:8] not in read_answer(body, Redactor([SECRET], MARK)).message


def test_a_secret_that_is_split_by_html_tags_is_redacted() -> None:
    page = b"<h1>Not found</h1><p>/custom/c4nary0c4<wbr>nary0c4nary</p>"
    assert read_answer(page, Redactor(["c4nary0c4nary0c4nary"], MARK)).message == f"Not found/custom/{MARK}"


def test_without_secrets_nothing_is_changed_but_echoed_credentials() -> None:
    redact = Redactor(["", ""], MARK)
    assert redact("as it was") == "as it was"
    assert redact("Authorization: Basic dXNlcjpwYXNz") == f"Authorization: Basic {MARK}"
    assert redact(f"SDK-HMAC-SHA256 Access=x, Signature={'ab' * 32}") == f"SDK-HMAC-SHA256 Access=x, Signature={MARK}"
