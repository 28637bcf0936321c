"""The client sends the same requests as the official SDK, which can report to the sandbox."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.sdk_request import SdkRequest
from huaweicloudsdkcore.signer.signer import Signer as SdkSigner
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from adapter.application import Node
from adapter.clock import SystemClock
from adapter.coc.applications import ApplicationsClient
from adapter.coc.client import CocClient
from adapter.coc.endpoint import AkSk, Endpoint
from adapter.coc.signing import DATE_FORMAT, Signer, canonical_path, canonical_query
from adapter.coc.verdict import Reason
from adapter.sandbox.server import Sandbox, serving
from adapter.secret import Secret
from tests.coc.servers import Request, answer, answering, scripted_server

ACCESS, SECRET = "AKTESTONLY0000000001", "sk-test-only-0000000000000000000000000001"
SIGNATURE = re.compile(r"SDK-HMAC-SHA256 Access=([^,]+), SignedHeaders=([^,]+), Signature=([0-9a-f]{64})")

# Headers that may differ between two HTTP clients.
ITS_OWN = {"connection", "content-length", "accept-encoding", "user-agent", "accept"}


class Sdk:
    """The process of sdk_peer."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def send(self, endpoint: str, key: str, body: dict[str, Any], auth: dict[str, str]) -> str:
        return self._do({"endpoint": endpoint, "key": key, "body": body, "auth": auth})

    def applications(self, endpoint: str, auth: dict[str, str], **query: Any) -> list[dict[str, Any]]:
        """One page of `list_application_view`."""
        rows: list[dict[str, Any]] = json.loads(self._do({"endpoint": endpoint, "auth": auth, "list": query}))
        return rows

    def _do(self, order: dict[str, Any]) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sdk]:
    home = tmp_path_factory.mktemp("home")
    proxies = {name: "" for name in os.environ if name.lower().endswith("_proxy")}
    environment = os.environ | proxies | {"HOME": str(home), "NO_PROXY": "*", "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("sdk_peer.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    yield Sdk(process)
    process.stdin.close()  # type: ignore[union-attr]
    process.stdout.close()  # type: ignore[union-attr]
    process.wait(10)


def endpoint_of(base_url: str, key: str, auth: dict[str, str]) -> Endpoint:
    secrets = {
        name: Secret(value=auth[name]) for name in ("access_key", "secret_key", "security_token") if name in auth
    }
    scope = {name: auth[name] for name in ("project_id", "domain_id") if name in auth}
    credentials = AkSk(**secrets, **scope)  # type: ignore[arg-type]
    return Endpoint(base_url=base_url, integration_key=Secret(value=key), auth=credentials)


async def both(sdk: Sdk, key: str, body: dict[str, Any], auth: dict[str, str]) -> tuple[Request, Request]:
    """(the SDK's request, the client's request)."""
    async with scripted_server(answering(answer(200, b'{"error_code":"COC.00000000"}'))) as coc:
        base_url = f"http://127.0.0.1:{coc.port}"
        assert await asyncio.to_thread(sdk.send, base_url, key, body, auth) == "sent"
        client = CocClient(endpoint_of(base_url, key, auth), SystemClock())
        verdict = await client.report(json.dumps(body, ensure_ascii=False).encode())
        await client.close()
    assert verdict.reason is Reason.ACCEPTED
    theirs, own = coc.requests
    return theirs, own


_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=40)
_ALARMS = st.fixed_dictionaries(
    {
        "alarmId": st.text("0123456789abcdef", min_size=1, max_size=16),
        "alarmName": _TEXT,
        "alarmLevel": st.sampled_from(["Critical", "Major", "Minor", "Info"]),
        "time": st.integers(1, 2**63 - 1),
        "nameSpace": _TEXT,
        "applicationId": _TEXT,
        "alarmDesc": _TEXT,
        "alarmStatus": st.sampled_from(["alarm", "ok"]),
        "alarmSource": _TEXT,
    },
    optional={
        "regionId": _TEXT,
        "resourceName": _TEXT,
        "resourceId": _TEXT,
        "URL": _TEXT,
        "additional": st.dictionaries(_TEXT, _TEXT, max_size=3),
    },
)
_KEYS = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=32).filter(
    lambda key: key not in (".", "..") and key == key.strip()
)
_AUTHS = st.sampled_from(
    [
        {"access_key": ACCESS, "secret_key": SECRET, "project_id": "p" * 32},
        {"access_key": ACCESS, "secret_key": SECRET, "domain_id": "d" * 32},
        {"access_key": ACCESS, "secret_key": SECRET, "project_id": "p" * 32, "security_token": "tmp+/="},
    ]
)
MINIMAL = {"alarmId": "a", "time": 1709118444540, "alarmName": "Cpu 使用超额预警", "URL": "https://example.com"}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=_KEYS, body=_ALARMS, auth=_AUTHS)
@example(key="a b/中?x", body=MINIMAL, auth={"access_key": ACCESS, "secret_key": SECRET, "project_id": "p"})
@example(key="%2F+&=#~.!*'()", body=MINIMAL, auth={"access_key": ACCESS, "secret_key": SECRET, "domain_id": "d"})
def test_the_clients_request_is_the_sdks_request(
    sdk: Sdk, key: str, body: dict[str, Any], auth: dict[str, str]
) -> None:
    theirs, own = asyncio.run(both(sdk, key, body, auth))
    assert own.line == theirs.line
    assert json.loads(own.body) == json.loads(theirs.body) == body
    assert headers(own).keys() == headers(theirs).keys()
    for name in headers(theirs).keys() - {"x-sdk-date", "authorization"}:
        assert headers(own)[name] == headers(theirs)[name], name
    sdk_date, own_date = (
        datetime.strptime(request.header("X-Sdk-Date"), DATE_FORMAT).replace(tzinfo=UTC) for request in (theirs, own)
    )
    assert abs((own_date - sdk_date).total_seconds()) < 60
    for request in (theirs, own):
        access, names, signature = SIGNATURE.fullmatch(request.header("Authorization")).groups()  # type: ignore[union-attr]
        assert access == ACCESS
        assert signature == sdk_signature(request, names.split(";"))


def headers(request: Request) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers if name.lower() not in ITS_OWN}


def sdk_signature(request: Request, names: list[str]) -> str:
    """The signature that the SDK's signer computes from the signed headers of a request."""
    method, target, _ = request.line.split()
    url = urlsplit(target)
    query = parse_qsl(url.query, keep_blank_values=True)
    signed = {name: request.header(name) for name in names}
    again = SdkRequest(
        method=method, resource_path=url.path, query_params=query, header_params=signed, body=request.body,
        host=signed["host"],
    )  # fmt: skip
    SdkSigner(BasicCredentials(ak=ACCESS, sk=SECRET)).sign(again)
    return str(again.header_params["Authorization"].rpartition("=")[2])


@given(path=st.text(min_size=1, max_size=60).filter(lambda text: "?" not in text))
def test_the_canonical_path_is_the_sdks(path: str) -> None:
    try:
        path.encode()
    except UnicodeEncodeError:
        return
    request = SdkRequest(resource_path="/" + path)
    expected = SdkSigner(BasicCredentials(ak=ACCESS, sk=SECRET))._process_canonical_uri(request)
    assert canonical_path("/" + path) == expected


@settings(deadline=None)
@given(
    body=st.binary(min_size=1, max_size=200),
    at=st.datetimes(timezones=st.just(UTC)).filter(lambda moment: moment.year >= 1000),
    value=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20),
)
def test_the_signature_is_the_sdks(body: bytes, at: datetime, value: str) -> None:
    signer = Signer(
        method="POST",
        path="/v1/x%20y",
        headers={"Host": "h:8443", "Content-Type": "application/json; charset=utf-8", "X-Project-Id": f" {value} "},
        access_key=ACCESS,
        secret_key=SECRET,
    )
    mine = signer.headers(body, at)
    request = SdkRequest(
        method="POST",
        resource_path="/v1/x%20y",
        query_params=[],
        header_params={
            "Host": "h:8443",
            "Content-Type": "application/json; charset=utf-8",
            "X-Project-Id": f" {value} ",
            "X-Sdk-Date": mine["X-Sdk-Date"],
        },
        body=body,
    )
    SdkSigner(BasicCredentials(ak=ACCESS, sk=SECRET)).sign(request)
    assert mine["Authorization"] == request.header_params["Authorization"]


GOOD = MINIMAL | {
    "alarmName": "disk_full",
    "alarmLevel": "Major",
    "nameSpace": "shop",
    "applicationId": "a",
    "alarmDesc": "d",
    "alarmSource": "prometheus",
    "additional": {"k": "v"},
}


@pytest.mark.parametrize(("key", "result"), [("right", "sent"), ("wrong", "refused 401")])
async def test_the_sdk_reports_to_the_sandbox_as_to_coc(sdk: Sdk, key: str, result: str) -> None:
    sandbox = Sandbox("right")
    auth = {"access_key": ACCESS, "secret_key": SECRET, "project_id": "p1"}
    async with serving(sandbox, "127.0.0.1", 0) as port:
        assert await asyncio.to_thread(sdk.send, f"http://127.0.0.1:{port}", key, GOOD, auth) == result
    assert sandbox.taken == (key == "right")


# Applications

ALL = {"limit": 500, "is_collection": False}


@pytest.mark.parametrize("scope", [{"project_id": "p" * 32}, {"domain_id": "d" * 32, "security_token": "tmp+/="}])
async def test_the_client_asks_for_applications_as_the_sdk_does(sdk: Sdk, scope: dict[str, str]) -> None:
    auth = {"access_key": ACCESS, "secret_key": SECRET, **scope}
    async with scripted_server(answering(answer(200, b'{"data":[]}'))) as coc:
        base_url = f"http://127.0.0.1:{coc.port}"
        assert await asyncio.to_thread(sdk.applications, base_url, auth, **ALL) == []
        assert await ApplicationsClient(endpoint_of(base_url, "k", auth), SystemClock()).fetch() == []
    theirs, own = coc.requests
    assert own.line == theirs.line == "GET /v1/application-view/search?is_collection=false&limit=500 HTTP/1.1"
    assert own.body == theirs.body == b""
    assert headers(own).keys() == headers(theirs).keys()
    for name in headers(theirs).keys() - {"x-sdk-date", "authorization"}:
        assert headers(own)[name] == headers(theirs)[name], name
    for request in (theirs, own):
        _, names, signature = SIGNATURE.fullmatch(request.header("Authorization")).groups()  # type: ignore[union-attr]
        assert signature == sdk_signature(request, names.split(";"))


async def test_the_client_gets_what_the_sdk_gets_from_the_sandbox(sdk: Sdk) -> None:
    auth = {"access_key": ACCESS, "secret_key": SECRET, "project_id": "p1"}
    async with serving(Sandbox(), "127.0.0.1", 0) as port:
        base_url = f"http://127.0.0.1:{port}"
        theirs = await asyncio.to_thread(sdk.applications, base_url, auth, **ALL)
        own = await ApplicationsClient(endpoint_of(base_url, "k", auth), SystemClock()).fetch()
        favourites = await asyncio.to_thread(sdk.applications, base_url, auth, limit=500)
        second = await asyncio.to_thread(sdk.applications, base_url, auth, **ALL, marker=theirs[1]["id"])
    assert isinstance(own, list)
    assert [node._asdict() for node in own] == [{name: row[name] or "" for name in Node._fields} for row in theirs]
    assert len(own) == 7
    assert len(favourites) == 1
    assert second == theirs[2:]


@given(query=st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=4))
def test_the_canonical_query_is_the_sdks(query: dict[str, str]) -> None:
    try:
        json.dumps(query, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return
    request = SdkRequest(query_params=list(query.items()))
    assert canonical_query(query) == SdkSigner.process_canonical_query_string(request)
