"""`render` and `diff`: what mappings make of a webhook body, for a person or a program."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from adapter.alertmanager import parse_webhook
from adapter.errors import MappingError, PayloadError
from adapter.mapping import shipped
from adapter.mapping.tools.preview import diff_payloads, render_payload
from adapter.mapping.tools.request import Preview
from tests.mapping.builders import SOUND, one_rule, outcome, program, rules, write

NOW = Preview(received=1_700_000_000_123_456)
SAMPLES = Path(__file__).parent.parent.parent / "adapter" / "samples"


async def preview(directory: Path, payload: bytes | str, output: str = "json") -> tuple[int, str]:
    body = (SAMPLES / f"{payload}.json").read_bytes() if isinstance(payload, str) else payload
    out = io.StringIO()
    return await render_payload(directory, NOW, body, output, out, out), out.getvalue()


async def test_json_has_an_object_for_each_alert() -> None:
    code, text = await preview(shipped(), "kube-shop-mixed")
    assert code == 0
    firing, resolved = json.loads(text)
    assert list(firing) == ["fingerprint", "rule", "mapping", "dropped", "fallbacks", "clipped", "body"]
    assert {name: firing[name] for name in ("fingerprint", "rule", "mapping", "dropped", "fallbacks", "clipped")} == {
        "fingerprint": "daa70f728f8b2797",
        "rule": "workload",
        "mapping": "30-kubernetes.yaml",
        "dropped": False,
        "fallbacks": [],
        "clipped": [],
    }
    assert (firing["body"]["alarmStatus"], firing["body"]["time"]) == ("alarm", 1795446943208)
    assert (resolved["body"]["alarmStatus"], resolved["body"]["time"]) == ("ok", 1795447850212)
    assert resolved["body"]["alarmId"] == resolved["fingerprint"] == "b9d1a2b94ba0100b"


NO_TIMES = (Path(__file__).parent.parent / "data" / "field" / "05-no-times-no-group-key.json").read_bytes()


@pytest.mark.parametrize("status", ["firing", "resolved"])
async def test_an_alert_without_a_time_has_the_one_at_which_it_was_received(status: str) -> None:
    _, text = await preview(shipped(), NO_TIMES.replace(b'"firing"', f'"{status}"'.encode()))
    (alert,) = json.loads(text)
    assert alert["body"]["time"] == 1_700_000_000_123


async def test_json_of_a_dropped_alert_has_no_body() -> None:
    _, text = await preview(shipped(), "kube-watchdog")
    (alert,) = json.loads(text)
    assert (alert["rule"], alert["dropped"], alert["body"]) == ("watchdog", True, None)


async def test_json_says_what_fell_back_and_what_was_clipped(tmp_path: Path) -> None:
    directory = write(tmp_path, a=one_rule(alarmDesc="{{ annotations.description }}", nameSpace="{{ 1 / 0 }}"))
    code, text = await preview(directory, "long-annotations")
    (alert,) = json.loads(text)
    assert code == 0, "fallbacks are no mistake of the command"
    assert alert["fallbacks"] == [{"field": "nameSpace", "reason": "error"}]
    assert alert["clipped"] == ["alarmDesc"]


async def test_an_alert_without_a_rule_says_so(tmp_path: Path) -> None:
    directory = write(tmp_path, a=rules({"name": "none", "when": "labels.nothing", "drop": True}))
    _, text = await preview(directory, "single-firing")
    assert json.loads(text)[0]["rule"] is None
    _, text = await preview(directory, "single-firing", "table")
    assert "InstanceDown d0293bc87cadec79 firing: no rule" in text


async def test_the_table_shows_what_a_person_asks_for(tmp_path: Path) -> None:
    directory = write(
        tmp_path,
        a=rules(
            {"name": "watchdog", "when": "labels.alertname == 'Watchdog'", "drop": True},
            {
                "name": "rest",
                "when": "1 / 0 or true",
                "alarm": SOUND,
            },
            {
                "name": "long",
                "alarm": {**SOUND, "alarmDesc": "{{ annotations.description }}", "URL": "{{ alert[labels.nope] }}"},
            },
        ),
    )
    code, text = await preview(directory, "long-annotations", "table")
    assert code == 0
    assert "firing: rule long of a.yaml" in text
    assert "<- clipped; the full text is in additional" in text
    assert "URL" in text
    assert "(left out)   <- fallback: error (" in text
    assert "when: fallback: error (rule rest: division by zero)" in text
    assert text.endswith("1 alerts: 0 dropped, 1 with fallbacks, 1 clipped\n")
    _, text = await preview(directory, "kube-watchdog", "table")
    assert "Watchdog e1749c6acab64267 firing: dropped by rule watchdog of a.yaml" in text


async def test_mappings_with_findings_render_nothing(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="unknown name 'podd'"):
        await preview(write(tmp_path, a=one_rule(resourceName="{{ podd }}")), "single-firing")


@pytest.mark.parametrize("payload", [b"", b"[]", b'{"alerts": 5}'])
async def test_a_body_that_is_not_a_webhook_is_reported_in_one_line(payload: bytes) -> None:
    with pytest.raises(PayloadError) as refused:
        await preview(shipped(), payload)
    assert len(str(refused.value).splitlines()) == 1


async def test_an_unusable_alert_stands_beside_the_others() -> None:
    payload = json.dumps({"alerts": [{"labels": {"alertname": "A"}, "status": "firing"}, 5]}).encode()
    code, text = await preview(shipped(), payload, "table")
    assert code == 0
    assert "rejected: the alert is a number, not an object" in text


async def test_json_stays_json_and_an_unusable_alert_is_reported_beside_it() -> None:
    payload = json.dumps({"alerts": [{"labels": {"alertname": "A"}, "status": "firing"}, 5]}).encode()
    out, errors = io.StringIO(), io.StringIO()
    assert await render_payload(shipped(), NOW, payload, "json", out, errors) == 0
    assert [item["body"]["alarmStatus"] for item in json.loads(out.getvalue())] == ["alarm"]
    assert errors.getvalue() == "rejected: the alert is a number, not an object\n"


async def compared(tmp_path: Path, old: str, new: str, *samples: str) -> tuple[int, str]:
    directories = write(tmp_path / "new", a=new), write(tmp_path / "old", a=old)
    payloads = [(f"{name}.json", (SAMPLES / f"{name}.json").read_bytes()) for name in samples]
    out = io.StringIO()
    return await diff_payloads(*directories, NOW, payloads, out), out.getvalue()


async def test_no_difference_is_reported_with_counts(tmp_path: Path) -> None:
    """The revision differs whenever a file does; that alone is no change of any alarm."""
    code, text = await compared(tmp_path, one_rule(), one_rule() + " ", "group3-firing", "single-firing")
    assert (code, text) == (0, "0 of 4 alarms differ, 0 fields\n")


async def test_a_difference_is_reported_field_by_field(tmp_path: Path) -> None:
    new = one_rule(
        nameSpace="hosts",
        resourceName="{{ labels.instance | host }}",
        additional={"where": "{{ labels.job and labels.job ~ '!' }}"},
    )
    code, text = await compared(tmp_path, one_rule(), new, "single-firing", "kube-watchdog")
    assert code == 1
    assert text.splitlines() == [
        "single-firing.json: InstanceDown d0293bc87cadec79 firing",
        "  nameSpace: 'default' -> 'hosts'",
        "  resourceName: (absent) -> 'db-1.example'",
        "  additional.where: (absent) -> 'node!'",
        "",
        "kube-watchdog.json: Watchdog e1749c6acab64267 firing",
        "  nameSpace: 'default' -> 'hosts'",
        "",
        "2 of 2 alarms differ, 4 fields",
    ]


async def test_an_alert_no_longer_reported_is_a_difference(tmp_path: Path) -> None:
    new = rules({"name": "all", "when": "labels.job == 'node'", "drop": True}, {"name": "rest", "alarm": SOUND})
    code, text = await compared(tmp_path, one_rule(), new, "single-firing")
    assert code == 1
    assert "  rule: 'all' -> 'all'" not in text
    assert "  dropped: false -> true" in text
    assert "  alarmName: 'InstanceDown' -> (absent)" in text


async def test_a_broken_side_is_reported_and_nothing_is_compared(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="rules must be a list of at least one rule"):
        await compared(tmp_path, one_rule(), "rules: []", "single-firing")


def test_every_sample_renders_by_the_shipped_mappings_without_fallback() -> None:
    of = program(shipped())
    for sample in sorted(SAMPLES.glob("*.json")):
        webhook = parse_webhook(sample.read_bytes())
        assert webhook.alerts
        for alert in webhook.alerts:
            result = outcome(of, NOW.request(alert, webhook.group))
            assert result.rule is not None
            assert result.fallbacks == {}, sample.name
