"""Every network exception has a verdict."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey, RequestInfo
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from adapter.coc.failure import ForbiddenAddress, judge_failure
from adapter.coc.verdict import Action, Reason

CANARY = "canary0key"
_URL = URL(f"https://coc.test/v1/event/huawei/custom/{CANARY}")
_KEY = ConnectionKey("coc.test", 443, True, True, None, None, None, None)
_INFO = RequestInfo(_URL, "POST", CIMultiDictProxy(CIMultiDict({"X-Auth-Token": CANARY})), _URL)


def _certificate_error() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "certificate has expired"
    return error


def _caused(outer: BaseException, inner: BaseException) -> BaseException:
    outer.__cause__ = inner
    return outer


REFUSED = ConnectionRefusedError(111, "Connection refused")
CASES: list[tuple[BaseException, Reason]] = [
    (aiohttp.ClientConnectorDNSError(_KEY, socket.gaierror(-2, "Name or service not known")), Reason.DNS),
    (aiohttp.ClientConnectorError(_KEY, REFUSED), Reason.REFUSED_CONNECTION),
    (aiohttp.ClientConnectorError(_KEY, OSError(113, "No route to host")), Reason.REFUSED_CONNECTION),
    (aiohttp.ClientConnectorError(_KEY, ConnectionResetError(104, "Connection reset by peer")), Reason.TLS),
    (aiohttp.ClientConnectorError(_KEY, ConnectionAbortedError("SSL handshake is taking longer")), Reason.TLS),
    (aiohttp.client_exceptions.UnixClientConnectorError("/x", _KEY, REFUSED), Reason.REFUSED_CONNECTION),
    (aiohttp.ClientProxyConnectionError(_KEY, REFUSED), Reason.PROXY),
    (aiohttp.ClientHttpProxyError(_INFO, (), status=502, message="Bad Gateway"), Reason.PROXY),
    (aiohttp.ClientConnectorCertificateError(_KEY, _certificate_error()), Reason.TLS),
    (aiohttp.ClientConnectorSSLError(_KEY, ssl.SSLError(1, "[SSL] x")), Reason.TLS),
    (aiohttp.ClientSSLError(_KEY, ssl.SSLError(1, "[SSL] x")), Reason.TLS),
    (aiohttp.ServerFingerprintMismatch(b"a", b"b", "coc.test", 443), Reason.TLS),
    (_caused(aiohttp.ClientOSError(1, "x"), ssl.SSLError(1, "alert certificate required")), Reason.TLS),
    (aiohttp.ConnectionTimeoutError(f"Connection timeout to host {_URL}"), Reason.CONNECT_TIMEOUT),
    (aiohttp.SocketTimeoutError("x"), Reason.TIMEOUT),
    (aiohttp.ServerTimeoutError("x"), Reason.TIMEOUT),
    (TimeoutError(), Reason.TIMEOUT),
    (aiohttp.ServerDisconnectedError(), Reason.CONNECTION_LOST),
    (aiohttp.ServerConnectionError("x"), Reason.CONNECTION_LOST),
    (aiohttp.ClientOSError(104, f"Can not write request body for {_URL}"), Reason.CONNECTION_LOST),
    (aiohttp.ClientConnectionResetError("Cannot write to closing transport"), Reason.CONNECTION_LOST),
    (aiohttp.ClientConnectionError(str(_URL)), Reason.CONNECTION_LOST),
    (aiohttp.ClientPayloadError("x"), Reason.CONNECTION_LOST),
    (ConnectionResetError(104, "reset"), Reason.CONNECTION_LOST),
    (aiohttp.ClientResponseError(_INFO, (), status=400, message="Bad status line"), Reason.NOT_COC),
    (aiohttp.ContentTypeError(_INFO, (), status=200, message="x"), Reason.NOT_COC),
    (aiohttp.WSServerHandshakeError(_INFO, (), status=200, message="x"), Reason.NOT_COC),
    (aiohttp.TooManyRedirects(_INFO, (), status=302, message="x"), Reason.NOT_COC),
    (aiohttp.InvalidURL(str(_URL)), Reason.UNEXPECTED),
    (aiohttp.client_exceptions.InvalidUrlClientError(str(_URL)), Reason.UNEXPECTED),
    (aiohttp.client_exceptions.NonHttpUrlClientError(str(_URL)), Reason.UNEXPECTED),
    (aiohttp.client_exceptions.RedirectClientError(str(_URL)), Reason.UNEXPECTED),
    (aiohttp.client_exceptions.InvalidUrlRedirectClientError(str(_URL)), Reason.UNEXPECTED),
    (aiohttp.client_exceptions.NonHttpUrlRedirectClientError(str(_URL)), Reason.UNEXPECTED),
    (aiohttp.client_exceptions.UploadAbortedError(str(_URL)), Reason.UNEXPECTED),
    (aiohttp.ClientError(str(_URL)), Reason.UNEXPECTED),
    (RuntimeError(str(_URL)), Reason.UNEXPECTED),
    (ValueError(CANARY), Reason.UNEXPECTED),
    (MemoryError(), Reason.UNEXPECTED),
    (asyncio.InvalidStateError(CANARY), Reason.UNEXPECTED),
]
ARRIVED = {Reason.CONNECTION_LOST, Reason.TIMEOUT, Reason.NOT_COC, Reason.UNEXPECTED}


@pytest.mark.parametrize(("exc", "reason"), CASES, ids=[type(exc).__name__ for exc, _ in CASES])
def test_each_kind_of_failure_has_its_reason(exc: BaseException, reason: Reason) -> None:
    got = judge_failure(exc, sent=True)
    assert (got.action, got.reason, got.status) == (Action.RETRY, reason, 0)
    assert got.ambiguous is (reason in ARRIVED)
    assert CANARY not in repr(got)


@pytest.mark.parametrize(("exc", "reason"), CASES, ids=[type(exc).__name__ for exc, _ in CASES])
def test_nothing_is_ambiguous_before_sending_began(exc: BaseException, reason: Reason) -> None:
    got = judge_failure(exc, sent=False)
    assert not got.ambiguous
    assert got.reason is (Reason.CONNECT_TIMEOUT if reason is Reason.TIMEOUT else reason)


def _kinds(kind: type[Any]) -> Iterator[type[Any]]:
    yield kind
    for each in kind.__subclasses__():
        yield from _kinds(each)


def test_every_exception_of_the_http_client_has_a_case() -> None:
    own = {kind for kind in _kinds(aiohttp.ClientError) if kind.__module__.startswith("aiohttp.client")}
    middle = {"WSMessageTypeError"}
    named = {type(exc).__name__ for exc, _ in CASES}
    assert not {kind.__name__ for kind in own} - named - middle


def test_an_address_that_is_refused_pauses() -> None:
    got = judge_failure(aiohttp.ClientConnectorError(_KEY, ForbiddenAddress()), sent=False)
    assert (got.action, got.reason) == (Action.PAUSE, Reason.ENDPOINT)


def test_a_proxy_that_requires_credentials_pauses() -> None:
    exc = aiohttp.ClientHttpProxyError(_INFO, (), status=407, message="Proxy Authentication Required")
    got = judge_failure(exc, sent=False)
    assert (got.action, got.reason, got.status) == (Action.PAUSE, Reason.CREDENTIALS, 407)
    assert "proxy_url" in got.hint


def test_a_certificate_error_names_the_reason() -> None:
    got = judge_failure(aiohttp.ClientConnectorCertificateError(_KEY, _certificate_error()), sent=False)
    assert got.message == "the certificate does not verify: certificate has expired"


def test_the_documentation_names_the_reason_of_each_failure() -> None:
    text = (Path(__file__).parents[2] / "docs" / "coc.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| [^|]+ \| `([a-z_]+)` \| (no|yes)[^|]*\|$", text, re.MULTILINE))
    assert {Reason(name) for name, word in rows.items() if word == "yes"} == ARRIVED
    assert {reason for _, reason in CASES} <= {Reason(name) for name in rows}


def test_a_circular_chain_of_exceptions_ends() -> None:
    first, second = RuntimeError("a"), RuntimeError("b")
    first.__cause__, second.__cause__ = second, first
    assert judge_failure(first, sent=True).reason is Reason.UNEXPECTED
