"""The sandbox: answers as documented, shows what it took, fails on request, stays small."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from adapter.coc.verdict import Action, Reason
from adapter.sandbox.applications import DEFAULT
from adapter.sandbox.contract import violations
from adapter.sandbox.faults import read_faults
from adapter.sandbox.server import Sandbox
from adapter.secret import Secret
from tests.coc.servers import client_of

Client = TestClient[Request, Application]
GOOD: dict[str, Any] = {
    "alarmId": "0123456789abcdef",
    "alarmName": "磁盘_disk-full",
    "alarmLevel": "Major",
    "time": 1709118444540,
    "nameSpace": "shop",
    "applicationId": "18cfa0a5ef8d",
    "alarmDesc": "a disk is full",
    "alarmStatus": "alarm",
    "alarmSource": "prometheus",
    "additional": {"rule": "disk"},
}
PATH = "/v1/event/huawei/custom/right"


@pytest.fixture
async def coc() -> AsyncIterator[Client]:
    async with TestClient(TestServer(Sandbox("right", keep=5).application())) as client:
        yield client


async def post(client: Client, path: str = PATH, **changes: Any) -> tuple[int, dict[str, Any]]:
    async with client.post(path, json=GOOD | changes) as response:
        return response.status, await response.json()


async def shown(client: Client, path: str) -> Any:
    async with client.get(path) as response:
        assert response.status == 200
        return await response.json()


async def test_a_good_alarm_is_taken_and_shown(coc: Client) -> None:
    status, body = await post(coc)
    assert status == 200
    assert body == {"error_code": "COC.00000000", "error_msg": "success", "provider_code": "049", "data": None}
    [alarm] = await shown(coc, "/alarms")
    assert (alarm["seq"], alarm["body"]) == (1, GOOD)
    assert alarm["received_at"].endswith("+00:00")
    assert "right" not in json.dumps(alarm)


async def test_alarms_are_shown_in_order_of_arrival_and_paged(coc: Client) -> None:
    for number in range(4):
        await post(coc, alarmId=f"a{number}")
    assert [alarm["body"]["alarmId"] for alarm in await shown(coc, "/alarms")] == ["a0", "a1", "a2", "a3"]
    assert [alarm["seq"] for alarm in await shown(coc, "/alarms?since=1&limit=2")] == [2, 3]
    async with coc.get("/alarms?since=x") as response:
        assert response.status == 400


async def test_only_the_newest_are_kept(coc: Client) -> None:
    for number in range(8):
        await post(coc, alarmId=f"a{number}")
    assert [alarm["seq"] for alarm in await shown(coc, "/alarms")] == [4, 5, 6, 7, 8]
    assert (await shown(coc, "/counts"))["answers"] == {"200": 8}


async def test_forgetting_keeps_the_numbering(coc: Client) -> None:
    await post(coc)
    async with coc.delete("/alarms") as response:
        assert await response.json() == {"forgotten": 1}
    assert await shown(coc, "/alarms") == []
    await post(coc)
    assert [alarm["seq"] for alarm in await shown(coc, "/alarms")] == [2]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"alarmId": "a-b"}, "alarmId"),
        ({"alarmId": ""}, "alarmId"),
        ({"alarmId": "a" * 256}, "alarmId"),
        ({"alarmId": None}, "alarmId"),
        ({"alarmId": 5}, "alarmId"),
        ({"alarmName": "a b"}, "alarmName"),
        ({"alarmName": "a…"}, "alarmName"),
        ({"alarmName": "ü"}, "alarmName"),
        ({"alarmLevel": "critical"}, "alarmLevel"),
        ({"alarmLevel": None}, "alarmLevel"),
        ({"time": "1709118444540"}, "time"),
        ({"time": 1.5}, "time"),
        ({"time": 0}, "time"),
        ({"time": 2**63}, "time"),
        ({"time": True}, "time"),
        ({"time": None}, "time"),
        ({"nameSpace": " "}, "nameSpace"),
        ({"applicationId": None}, "applicationId"),
        ({"alarmDesc": ""}, "alarmDesc"),
        ({"alarmDesc": "😀" * 128}, "alarmDesc"),
        ({"URL": "u" * 256}, "URL"),
        ({"regionId": "r" * 256}, "regionId"),
        ({"alarmStatus": "resolved"}, "alarmStatus"),
        ({"alarmSource": None}, "alarmSource"),
        ({"additional": "text"}, "additional"),
        ({"additional": []}, "additional"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_violation_of_the_contract_is_refused_and_named(
    coc: Client, changes: dict[str, Any], field: str
) -> None:
    status, body = await post(coc, **changes)
    assert (status, body["error_code"]) == (400, "COC.00000001")
    assert body["error_msg"].startswith(f"{field} ")
    assert " | " not in body["error_msg"]
    assert await shown(coc, "/alarms") == []
    [refusal] = await shown(coc, "/refusals")
    assert refusal["message"] == body["error_msg"]


@pytest.mark.parametrize(
    "changes",
    [
        {"alarmDesc": "😀" * 127},
        {"alarmName": "告警" * 127},
        {"URL": ""},
        {"regionId": None},
        {"alarmStatus": None},
        {"additional": None},
        {"time": 1},
        {"time": 2**63 - 1},
        {"alarmDesc": "two\nlines \ud83d"},
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_what_the_pages_allow_is_taken(coc: Client, changes: dict[str, Any]) -> None:
    assert (await post(coc, **changes))[0] == 200
    assert len(await shown(coc, "/alarms")) == 1


def test_every_missing_field_is_named_at_once() -> None:
    named = {message.split()[0] for message in violations({})}
    assert named == {
        "alarmId",
        "alarmName",
        "alarmLevel",
        "time",
        "nameSpace",
        "applicationId",
        "alarmDesc",
        "alarmSource",
    }
    without = {name: value for name, value in GOOD.items() if name != "applicationId"}
    assert violations(without) == ["applicationId must not be null"]


@given(
    alarm=st.dictionaries(
        st.sampled_from([*GOOD, "URL", "other"]), st.none() | st.text() | st.integers() | st.lists(st.text())
    )
)
def test_any_object_is_judged(alarm: dict[str, Any]) -> None:
    assert all(isinstance(message, str) for message in violations(alarm))


@pytest.mark.parametrize("data", [b"", b"x", b"[]", b"null", b"[" * 100_000, b"\xff"], ids=lambda data: repr(data[:9]))
async def test_what_is_no_json_object_is_refused(coc: Client, data: bytes) -> None:
    async with coc.post(PATH, data=data) as response:
        assert response.status == 400
        assert (await response.json())["error_code"] == "COC.00000001"


async def test_a_nested_alarm_does_not_break_the_list(coc: Client) -> None:
    depth = 900
    nested = json.dumps(GOOD)[:-1] + ', "deep": ' + "[" * depth + "]" * depth + "}"
    async with coc.post(PATH, data=nested) as response:
        assert response.status in (200, 400)
    assert isinstance(await shown(coc, "/alarms"), list)


async def test_a_body_over_12_mb_is_too_large(coc: Client) -> None:
    async with coc.post(PATH, data=io.BytesIO(bytes(12 * 1024 * 1024 + 1))) as response:
        assert (response.status, (await response.json())["error_code"]) == (413, "APIGW.0201")


@pytest.mark.parametrize("path", ["/v1/event/huawei/custom/", "/v1/event/huawei/custom/right/more", "/v1/other", "/"])
async def test_a_wrong_path_does_not_exist(coc: Client, path: str) -> None:
    async with coc.post(path, json=GOOD) as response:
        assert response.status in (404, 405)


async def test_a_wrong_key_is_refused(coc: Client) -> None:
    status, body = await post(coc, "/v1/event/huawei/custom/wrong")
    assert (status, body["error_code"]) == (401, "common.01010001")


async def test_a_url_is_refused_as_a_key_even_where_any_key_is_taken() -> None:
    url = URL("/v1/event/huawei/custom/https%3A%2F%2Fcoc.example%2Fv1%2Fevent%2Fhuawei%2Fcustom%2Fx", encoded=True)
    async with TestClient(TestServer(Sandbox().application())) as client:
        answer = await client.post(url, json=GOOD)
        assert (answer.status, (await answer.json())["error_code"]) == (401, "common.01010001")


async def test_alarms_name_their_key_without_showing_it() -> None:
    async with TestClient(TestServer(Sandbox().application())) as coc:
        for key in ("first%2F%E4%B8%AD", "second", "second"):
            assert (await post(coc, f"/v1/event/huawei/custom/{key}"))[0] == 200
        names = [alarm["integration"] for alarm in await shown(coc, "/alarms")]
    assert names[0] != names[1] == names[2]
    assert not any("second" in name for name in names)


@pytest.mark.parametrize("name", ["Authorization", "X-Auth-Token", "X-Security-Token"])
async def test_credentials_are_not_shown(coc: Client, name: str) -> None:
    async with coc.post(PATH, json=GOOD, headers={name: "t0ken"}) as response:
        assert response.status == 200
    [alarm] = await shown(coc, "/alarms")
    assert alarm["headers"][name] == "<secret>"
    assert "t0ken" not in json.dumps(alarm)


FAULTS: list[tuple[dict[str, Any], Reason, bool]] = [  # rule, what the client makes of it, whether the alarm was taken
    ({"status": 503, "retry_after": 7}, Reason.SERVER_ERROR, False),
    ({"status": 429}, Reason.THROTTLED, False),
    ({"status": 400}, Reason.CONTENT, False),
    ({"status": 401}, Reason.CREDENTIALS, False),
    ({"status": 403}, Reason.CREDENTIALS, False),
    ({"status": 404}, Reason.ENDPOINT, False),
    ({"status": 302}, Reason.ENDPOINT, False),
    ({"status": 204}, Reason.NOT_COC, False),
    ({"status": 200, "code": "COC.00010002"}, Reason.CONTENT, False),
    ({"code": "APIGW.0308", "message": "slow down"}, Reason.THROTTLED, False),
    ({"html": True}, Reason.NOT_COC, False),
    ({"html": True, "status": 502}, Reason.SERVER_ERROR, False),
    ({"body": ""}, Reason.NOT_COC, False),
    ({"body": "{"}, Reason.NOT_COC, False),
    ({"delay": 0.05}, Reason.ACCEPTED, True),
    ({"delay": 30}, Reason.TIMEOUT, False),
    ({"reset": "before"}, Reason.CONNECTION_LOST, False),
    ({"reset": "after"}, Reason.CONNECTION_LOST, True),
    ({"share": 0, "status": 500}, Reason.ACCEPTED, True),
    ({"alarm_id": "other", "status": 500}, Reason.ACCEPTED, True),
]


@pytest.mark.parametrize(("rule", "reason", "taken"), FAULTS, ids=[json.dumps(rule) for rule, _, _ in FAULTS])
async def test_each_failure_is_played(coc: Client, rule: dict[str, Any], reason: Reason, taken: bool) -> None:
    async with coc.put("/faults", json=[rule]) as response:
        assert response.status == 200
    base = str(coc.make_url("")).rstrip("/")
    async with client_of(base, integration_key=Secret(value="right"), timeout=0.5) as client:
        verdict = await client.report(json.dumps(GOOD).encode())
        assert verdict.reason is reason
        assert verdict.retry_after == (float(rule["retry_after"]) if "retry_after" in rule else None)
        assert len(await shown(coc, "/alarms")) == taken
        async with coc.delete("/faults") as response:
            assert await response.json() == []
        assert (await client.report(json.dumps(GOOD).encode())).action is Action.ACCEPTED


async def test_a_share_is_spread_evenly_and_times_ends(coc: Client) -> None:
    async with coc.post("/faults", json=[{"status": 500, "share": 0.25, "times": 2}]) as response:
        assert response.status == 200
    statuses = [(await post(coc))[0] for _ in range(12)]
    assert [index for index, status in enumerate(statuses) if status == 500] == [3, 7]
    assert (await shown(coc, "/faults"))[0]["played"] == 2


async def test_rules_stand_in_order_and_may_name_an_alarm(coc: Client) -> None:
    rules = [{"alarm_id": "bad", "status": 400}, {"times": 1, "status": 503}]
    async with coc.put("/faults", json=rules) as response:
        assert response.status == 200
    answers = [(await post(coc, alarmId=alarm_id))[0] for alarm_id in ("bad", "good", "bad", "good")]
    assert answers == [400, 503, 400, 200]


@pytest.mark.parametrize(
    "document",
    [
        5,
        [5],
        [{"bogus": 1}],
        [{"status": "500"}],
        [{"status": 99}],
        [{"status": True}],
        [{"share": 2}],
        [{"reset": "x"}],
        [{"delay": -1}],
        [{"delay": 10**9}],
        [{"html": 1}],
        [{"times": -1}],
        [{"retry_after": "a\r\nb"}],
        [{"body": 1}],
    ],
    ids=str,
)
async def test_a_rule_that_cannot_be_is_refused_and_the_old_ones_stay(coc: Client, document: object) -> None:
    with pytest.raises(ValueError, match="rule 1"):
        read_faults(document)
    async with coc.put("/faults", json={"status": 500}) as response:
        assert response.status == 200
    async with coc.put("/faults", json=document) as response:
        assert response.status == 400
    assert len(await shown(coc, "/faults")) == 1


async def test_a_program_reads_the_taken_alarms_of_its_own_sandbox() -> None:
    sandbox = Sandbox()
    async with TestClient(TestServer(sandbox.application())) as coc:
        await post(coc)
    assert [alarm.shown()["body"] for alarm in sandbox.since()] == [GOOD]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_command_prints_the_url_first_and_ends_on_a_signal(number: signal.Signals) -> None:
    program = "import asyncio, adapter.sandbox.server as s; asyncio.run(s.serve_sandbox('127.0.0.1', 0, 'k'))"
    root = str(Path(__file__).parents[2])
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, env=os.environ | {"PYTHONPATH": root}
    )
    try:
        assert process.stdout is not None
        url = (await asyncio.wait_for(process.stdout.readline(), 30)).decode().strip()
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{url}/v1/event/huawei/custom/k", json=GOOD) as got,
        ):
            assert got.status == 200
        process.send_signal(number)
        assert await asyncio.wait_for(process.wait(), 30) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


LIST = "/v1/application-view/search"


async def listed(client: Client, query: str) -> list[str]:
    return [row["name"] for row in (await shown(client, f"{LIST}?{query}"))["data"]]


async def test_it_lists_applications_as_coc_does(coc: Client) -> None:
    everything = await listed(coc, "limit=500&is_collection=false")
    assert everything == [node.name for node in DEFAULT]
    assert await listed(coc, "limit=500") == everything[:1]  # favourites
    assert await listed(coc, "limit=2&is_collection=false") == everything[:2]
    second = f"limit=2&is_collection=false&marker={DEFAULT[1].id}"
    assert await listed(coc, second) == everything[2:4]
    assert await listed(coc, f"limit=500&is_collection=false&marker={DEFAULT[-1].id}") == []
    assert await listed(coc, "limit=500&is_collection=false&name_like=SHOP") == everything[:3]
    assert await listed(coc, "limit=500&is_collection=false&code_list=pay&code_list=shop") == [
        everything[0], everything[5],
    ]  # fmt: skip


@pytest.mark.parametrize(
    "query", ["", "is_collection=false", "limit=0", "limit=501", "limit=x", "limit=1&is_collection=F"]
)
async def test_it_refuses_a_list_that_coc_would_refuse(coc: Client, query: str) -> None:
    async with coc.get(f"{LIST}?{query}") as response:
        assert response.status == 400
        assert (await response.json())["error_code"] == "COC.00000001"


async def test_a_fault_is_for_one_of_the_calls(coc: Client) -> None:
    async with coc.put("/faults", json=[{"call": "applications", "status": 403}]) as response:
        assert response.status == 200
    assert (await post(coc))[0] == 200
    async with coc.get(f"{LIST}?limit=1") as response:
        assert response.status == 403
    async with coc.put("/faults", json=[{"status": 503}, {"call": "applications", "loop": True}]) as response:
        assert response.status == 200
    assert (await post(coc))[0] == 503
    assert await listed(coc, f"limit=1&is_collection=false&marker={DEFAULT[0].id}") == [DEFAULT[0].name]


async def test_lists_are_not_counted_among_the_answers_to_reports(coc: Client) -> None:
    await listed(coc, "limit=1")
    assert (await shown(coc, "/counts"))["answers"] == {}
