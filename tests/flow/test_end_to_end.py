"""From a webhook to COC with a real process: one report per change, in order, over a kill, an outage and a SIGTERM."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import pytest

from adapter.alertmanager import fingerprint_of
from tests.stage import adapter, alert, drained, fetch, post, sample, sandbox, until, values, webhook, write_config

OUTCOMES = ("delivered", "unneeded", "superseded", "dead", "discarded", "dropped")


async def test_firing_repeat_and_resolve_are_one_alarm_and_one_ok_of_the_same_identity(tmp_path: Path) -> None:
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port)) as service:
        for name in ("single-firing", "single-firing", "single-resolved", "single-resolved"):
            status, _ = await post(f"{service.url}/webhook", sample(name))
            assert status == 200
        alarm, ok = await coc.received(2)
        assert (alarm["alarmStatus"], ok["alarmStatus"]) == ("alarm", "ok")
        for field in ("alarmId", "alarmName", "alarmLevel", "nameSpace", "applicationId", "resourceName"):
            assert alarm[field] == ok[field]
        assert alarm["time"] == 1795447543131
        assert ok["time"] == 1795447850210
        assert await service.terminate() == 0
        assert len(coc.bodies) == 2


async def test_a_200_alert_group_sent_again_with_one_change_is_one_request(tmp_path: Path) -> None:
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port)) as service:
        group = json.loads(sample("group200"))
        await post(f"{service.url}/webhook", json.dumps(group).encode())
        await coc.received(200)
        group["alerts"][77] |= {"status": "resolved", "endsAt": "2026-11-23T18:00:00Z"}
        status, answer = await post(f"{service.url}/webhook", json.dumps(group).encode())
        assert (status, json.loads(answer)) == (200, {"accepted": 200, "news": 1, "repeats": 199, "rejected": 0})
        await coc.received(201)
        await drained(service.url)
        assert len(coc.bodies) == 201
        assert coc.bodies[-1]["alarmId"] == group["alerts"][77]["fingerprint"]
        assert coc.bodies[-1]["alarmStatus"] == "ok"


async def test_kill_9_between_the_200_and_the_delivery_loses_nothing_and_keeps_the_order(tmp_path: Path) -> None:
    async with sandbox() as coc:
        await coc.fail({"status": 503})
        config = write_config(tmp_path, coc.port)
        ids = await _fire_and_resolve(config)
        await coc.fail()
        async with adapter(config) as service:
            await coc.received(2 * len(ids))
            await drained(service.url)
        assert {alarm_id: coc.states(alarm_id) for alarm_id in ids} == {alarm_id: ["alarm", "ok"] for alarm_id in ids}


async def test_webhooks_during_an_outage_of_coc_are_answered_and_reported_in_order_afterwards(
    tmp_path: Path,
) -> None:
    async with sandbox() as coc:
        port, config = coc.port, write_config(tmp_path, coc.port)
    async with adapter(config) as service:
        names = [f"Down{number}" for number in range(20)]
        for status in ("firing", "resolved"):
            for name in names:
                answered, _ = await post(f"{service.url}/webhook", webhook(alert(name, status)))
                assert answered == 200
        scrape = await fetch(f"{service.url}/metrics")
        assert values(scrape, "coc_adapter_reports_pending") == 40
        async with sandbox(port) as coc:
            await coc.received(40)
            await drained(service.url)
            for name in names:
                labels = {"alertname": name, "severity": "warning", "namespace": "shop"}
                assert coc.states(fingerprint_of(labels)) == ["alarm", "ok"]
            await post(f"{service.url}/webhook", webhook(alert("Fresh")))
            await coc.received(41, seconds=5.0)


async def test_sigterm_finishes_what_is_in_flight_keeps_the_rest_and_exits_0(tmp_path: Path) -> None:
    async with sandbox() as coc:
        await coc.fail({"delay": 0.5})
        config = write_config(tmp_path, coc.port, "    max_in_flight: 2\n")
        async with adapter(config) as service:
            for number in range(6):
                await post(f"{service.url}/webhook", webhook(alert(f"Slow{number}")))
            await until(lambda: coc.bodies, "a first report")
            assert await service.terminate() == 0
        delivered = len(coc.bodies)
        assert 1 <= delivered < 6
        await coc.fail()
        async with adapter(config) as service:
            await coc.received(6)
            await drained(service.url)
        assert sorted({body["alarmName"] for body in coc.bodies}) == [f"Slow{number}" for number in range(6)]
        assert len(coc.bodies) == 6


async def test_the_law_holds_and_every_outcome_is_counted_once(tmp_path: Path) -> None:
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port)) as service:
        for name in ("kube-watchdog", "group3-firing", "group3-mixed", "group3-rest-resolved", "unicode"):
            await post(f"{service.url}/webhook", sample(name))
        scrape = await drained(service.url)
        enqueued = values(scrape, "coc_adapter_reports_enqueued_total")
        assert enqueued == sum(values(scrape, "coc_adapter_reports_total", outcome=name) for name in OUTCOMES)
        assert values(scrape, "coc_adapter_reports_total", outcome="delivered") == len(coc.bodies) == 7
        assert values(scrape, "coc_adapter_reports_total", outcome="dropped") == 1


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/webhook", b"not json", 400),
        ("/webhook", b'{"version": "4"}', 400),
        ("/webhook", b"[]", 400),
        ("/webhook/unknown", b'{"alerts": []}', 404),
        ("/webhook/default", b'{"alerts": []}', 200),
        ("/webhook", b" " * (17 * 1024 * 1024), 413),
    ],
    ids=["no JSON", "no alerts", "a list", "unknown integration", "named integration", "too large"],
)
async def test_each_kind_of_body_gets_the_documented_answer(
    tmp_path: Path, path: str, body: bytes, status: int
) -> None:
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port)) as service:
        answered, text = await post(service.url + path, body)
        assert answered == status
        assert text.count("\n") <= 1


async def test_get_on_a_webhook_path_is_405_so_that_a_redirect_never_counts_as_delivered(tmp_path: Path) -> None:
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port)) as service, aiohttp.ClientSession() as http:
        for path in ("/webhook", "/webhook/default"):
            async with http.get(service.url + path) as answer:
                assert answer.status == 405


async def test_one_unusable_alert_of_500_leaves_499_delivered_and_one_reject(tmp_path: Path) -> None:
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port)) as service:
        alerts: list[object] = [alert(f"Many{number}") for number in range(499)]
        alerts.insert(250, {"status": "firing", "labels": {"alertname": [7]}})
        status, answer = await post(f"{service.url}/webhook", json.dumps({"version": "4", "alerts": alerts}).encode())
        assert (status, json.loads(answer)["accepted"], json.loads(answer)["rejected"]) == (200, 499, 1)
        await coc.received(499)
        rejects = json.loads(await fetch(f"{service.admin_url}/api/v1/rejects"))
        assert [reject["reason"] for reject in rejects] == ["label 'alertname' is a list, not text"]


async def _fire_and_resolve(config: Path) -> list[str]:
    """Twenty alarms fire and resolve while COC refuses; the adapter is killed right after the last 200."""
    async with adapter(config) as service:
        names = [f"Killed{number}" for number in range(20)]
        for status in ("firing", "resolved"):
            answered, _ = await post(f"{service.url}/webhook", webhook(*(alert(name, status) for name in names)))
            assert answered == 200
        service.kill()
    return [fingerprint_of({"alertname": name, "severity": "warning", "namespace": "shop"}) for name in names]
