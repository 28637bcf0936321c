"""The client that lists applications: pages to their end, and what every other answer is."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.application import Node
from adapter.clock import SystemClock
from adapter.coc import applications
from adapter.coc.applications import ApplicationsClient
from adapter.coc.endpoint import AkSk, Endpoint, Token
from adapter.coc.verdict import Reason, Verdict
from adapter.secret import Secret
from tests.coc.servers import KEY, Request, answer, answering, connect_proxy, scripted_server
from tests.tls import Authority

# The example of the API definition: a component.
COMPONENT = {
    "id": "65a7b9c0d1e2f3a4b5c6d7e8",
    "name": "web",
    "code": "65a7b9c0d1e2f3a4b5c6d7e8",
    "type": "component",
    "parent_id": "65a7b9c0d1e2f3a4b5c6d7e0",
    "component_id": None,
    "application_id": "65a7b9c0d1e2f3a4b5c6d7e0",
    "path": "65a7b9c0d1e2f3a4b5c6d7e0.65a7b9c0d1e2f3a4b5c6d7e8",
    "vendor": None,
    "related_domain_id": None,
}


def client_for(base_url: str, **changes: Any) -> ApplicationsClient:
    auth = AkSk(access_key=Secret(value="AKTESTONLY"), secret_key=Secret(value="sk-test-only-01"), project_id="p1")
    fields = {"base_url": base_url, "integration_key": Secret(value=KEY), "auth": auth, "timeout": 2.0} | changes
    return ApplicationsClient(Endpoint(**fields), SystemClock())


def marker_of(request: Request) -> str:
    return parse_qs(urlsplit(request.line.split()[1]).query).get("marker", [""])[0]


def paging(rows: Sequence[dict[str, Any]], size: int) -> Any:
    """A script that gives the rows behind the marker, `size` at a time."""

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        ids = [row["id"] for row in rows]
        start = ids.index(marker_of(request)) + 1 if marker_of(request) else 0
        writer.write(answer(200, json.dumps({"data": rows[start : start + size]}).encode()))

    return script


async def listed(body: bytes, status: int = 200, *headers: str) -> list[Node] | Verdict:
    """What the client makes of this answer to its first call; the second page is empty."""

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        empty = answer(200, b'{"data":[]}')
        writer.write(empty if marker_of(request) else answer(status, body, *headers))

    async with scripted_server(script) as coc:
        return await client_for(f"http://127.0.0.1:{coc.port}").fetch()


def row(number: int) -> dict[str, Any]:
    return {"id": f"{number:024x}", "name": f"Application {number}", "code": f"app-{number}", "type": "application"}


async def test_the_recorded_example_is_read() -> None:
    rows = await listed(json.dumps({"data": [COMPONENT]}).encode())
    code, parent, path = (str(COMPONENT[name]) for name in ("code", "parent_id", "path"))
    assert rows == [Node(code, "web", code, "component", parent, path)]


async def test_new_fields_and_nulls_are_no_harm() -> None:
    body = json.dumps({"data": [{**COMPONENT, "path": None, "code": None, "owner": {"id": 1}}], "page_info": {}})
    rows = await listed(body.encode())
    assert isinstance(rows, list)
    assert (rows[0].path, rows[0].code) == ("", "")


@pytest.mark.parametrize("size", [1, 7, 500])
async def test_pages_go_on_until_an_empty_one_however_short_they_are(size: int) -> None:
    rows = [row(number) for number in range(20)]
    async with scripted_server(paging(rows, size)) as coc:
        found = await client_for(f"http://127.0.0.1:{coc.port}").fetch()
    assert isinstance(found, list)
    assert [node.id for node in found] == [each["id"] for each in rows]
    assert coc.connections == 1
    assert marker_of(coc.requests[-1]) == rows[-1]["id"]


async def test_ten_thousand_nodes_are_fetched_in_twenty_one_calls() -> None:
    async with scripted_server(paging([row(number) for number in range(10_000)], 500)) as coc:
        found = await client_for(f"http://127.0.0.1:{coc.port}").fetch()
    assert isinstance(found, list)
    assert len(found) == 10_000
    assert len(coc.requests) == 21


async def test_a_marker_that_leads_back_ends_the_fetch() -> None:
    async with scripted_server(answering(answer(200, json.dumps({"data": [row(1), row(2)]}).encode()))) as coc:
        found = await client_for(f"http://127.0.0.1:{coc.port}").fetch()
    assert isinstance(found, Verdict)
    assert found.reason is Reason.NOT_COC
    assert "leads back" in found.message
    assert len(coc.requests) == 2


async def test_pages_without_an_end_are_given_up() -> None:
    count = 0

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 500
        writer.write(answer(200, json.dumps({"data": [row(number) for number in range(count, count + 500)]}).encode()))

    async with scripted_server(script) as coc:
        found = await client_for(f"http://127.0.0.1:{coc.port}").fetch()
    assert isinstance(found, Verdict)
    assert "more than" in found.message
    assert len(coc.requests) == applications.MOST_NODES / 500 + 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not JSON",
        b"[]",
        b"{}",
        b'{"data": null}',
        b'{"data": {}}',
        b'{"data": [{"name": "no id"}]}',
        b'{"data": [{"id": "", "name": "x"}]}',
        b'{"data": [{"id": 12, "name": "x"}]}',
        b'{"data": [{"id": "a", "name": null}]}',
        b'{"data": ["a"]}',
        b'{"error_code": "COC.00010002", "error_msg": "invalid", "data": []}',
        b'{"error_code": "COC.00000000", "error_msg": "success", "data": null}',
        b"<html>log in</html>",
        b'{"data": [' + b" " * applications.LARGEST_PAGE + b"]}",
    ],
)
async def test_what_is_no_list_is_never_taken_for_an_empty_one(body: bytes) -> None:
    found = await listed(body)
    assert isinstance(found, Verdict)
    assert found.reason in (Reason.NOT_COC, Reason.CONTENT)


async def test_an_empty_list_is_a_list() -> None:
    assert await listed(b'{"data": []}') == []
    assert await listed(b'{"error_code": "COC.00000000", "data": []}') == []


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (403, b'{"error_code":"APIGW.0302","error_msg":"not authorized"}', Reason.CREDENTIALS),
        (401, b'{"error_code":"common.01010001","error_msg":"Token missing or invalid."}', Reason.CREDENTIALS),
        (404, b"", Reason.ENDPOINT),
        (302, b"", Reason.ENDPOINT),
        (400, b'{"error_code":"COC.00000001","error_msg":"limit must not be null"}', Reason.CONTENT),
        (429, b'{"error_code":"APIGW.0308","error_msg":"over ratelimit"}', Reason.THROTTLED),
        (500, b"<html>", Reason.SERVER_ERROR),
        (204, b"", Reason.NOT_COC),
    ],
)
async def test_every_other_status_has_its_reason(status: int, body: bytes, reason: Reason) -> None:
    found = await listed(body, status, "Location: /elsewhere")
    assert isinstance(found, Verdict)
    assert (found.status, found.reason) == (status, reason)


async def test_a_refusal_names_the_right_that_is_missing_and_a_throttle_says_for_how_long() -> None:
    refused = await listed(b'{"error_code":"APIGW.0302","error_msg":"not authorized"}', 403)
    throttled = await listed(b"", 429, "Retry-After: 7")
    assert isinstance(refused, Verdict)
    assert isinstance(throttled, Verdict)
    assert refused.words == ("403 APIGW.0302 not authorized (the caller needs the IAM action coc:application:list)")
    assert throttled.retry_after == 7


async def test_a_page_cut_short_and_a_closed_port_are_failures() -> None:
    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(200, b'{"data": []', length=500))
        writer.close()

    async with scripted_server(script) as coc:
        cut = await client_for(f"http://127.0.0.1:{coc.port}").fetch()
    closed = await client_for(f"http://127.0.0.1:{coc.port}").fetch()
    assert isinstance(cut, Verdict)
    assert isinstance(closed, Verdict)
    assert (cut.reason, closed.reason) == (Reason.CONNECTION_LOST, Reason.REFUSED_CONNECTION)


async def test_a_silent_server_costs_no_more_than_the_timeout() -> None:
    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async with scripted_server(script) as coc:
        found = await client_for(f"http://127.0.0.1:{coc.port}", timeout=0.2).fetch()
    assert isinstance(found, Verdict)
    assert found.reason is Reason.TIMEOUT


async def test_secrets_that_an_answer_echoes_are_redacted() -> None:
    found = await listed(json.dumps({"error_code": "x", "error_msg": f"{KEY} sk-test-only-01"}).encode(), 400)
    assert isinstance(found, Verdict)
    assert found.message == "[secret] [secret]"


async def test_a_link_local_address_is_never_asked() -> None:
    found = await client_for("http://169.254.169.254").fetch()
    assert isinstance(found, Verdict)
    assert found.reason is Reason.ENDPOINT


async def test_a_token_is_sent_in_place_of_a_signature() -> None:
    async with scripted_server(answering(answer(200, b'{"data":[]}'))) as coc:
        await client_for(f"http://127.0.0.1:{coc.port}", auth=Token(token=Secret(value="tok-01"))).fetch()
    assert coc.requests[0].header("X-Auth-Token") == "tok-01"
    assert coc.requests[0].header("Authorization") == ""


async def test_tls_and_the_tunnel_of_a_proxy_are_those_of_the_reports(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    pair = authority.issue("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    async with connect_proxy() as proxy, scripted_server(answering(answer(200, b'{"data":[]}')), context) as coc:
        base, url = f"https://127.0.0.1:{coc.port}", Secret(value=f"http://127.0.0.1:{proxy.port}")
        trusted = await client_for(base, ca_file=authority.cert, proxy_url=url).fetch()
        untrusted = await client_for(base, proxy_url=url).fetch()
    assert trusted == []
    assert isinstance(untrusted, Verdict)
    assert untrusted.reason is Reason.TLS
    assert proxy.log[0].startswith(f"CONNECT 127.0.0.1:{coc.port} HTTP/1.1")


@given(
    data=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["data", "id", "name", "code", "x"]), inner, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_any_json_is_a_list_of_nodes_or_a_verdict(data: Any) -> None:
    try:
        body = json.dumps(data).encode()
    except ValueError:
        return
    found = asyncio.run(listed(body))
    is_list = isinstance(data, dict) and isinstance(data.get("data"), list)
    assert isinstance(found, Verdict) or is_list
