"""The runner of mapping tests, tested with cases that must fail."""

from __future__ import annotations

import io
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from adapter.errors import MappingError
from adapter.mapping import shipped
from adapter.mapping.tools.cases import run_cases
from tests.mapping.builders import SOUND, rules, write

MAPPING = rules(
    {"name": "watchdog", "when": "labels.alertname == 'Watchdog'", "drop": True},
    {"name": "pod", "when": "labels.pod", "alarm": {**SOUND, "resourceName": "{{ labels.pod }}"}},
    {"name": "node", "when": "labels.node", "alarm": {**SOUND, "nameSpace": "{{ 1 / 0 }}"}},
)
POD = {"labels": {"alertname": "PodDown", "pod": "p1", "severity": "warning"}, "annotations": {"summary": "down"}}


async def run(tmp_path: Path, *cases: dict[str, object], junit: Path | None = None) -> tuple[int, str]:
    directory = write(tmp_path / "mappings", a=MAPPING)
    write(directory / "tests", cases=json.dumps({"tests": list(cases)}))
    out = io.StringIO()
    return await run_cases(directory, [], junit, out), out.getvalue()


def case(**changes: object) -> dict[str, object]:
    return {"name": "a pod", "alert": POD, "expect": {"rule": "pod"}, **changes}


async def test_only_what_is_named_has_to_match(tmp_path: Path) -> None:
    code, text = await run(
        tmp_path,
        case(expect={"rule": "pod", "alarm": {"resourceName": "p1", "additional": {"mapping": "a.yaml"}}}),
        case(expect={"alarm": {"alarmLevel": "Minor", "time": 1767323045000, "URL": "", "regionId": None}}),
        case(alert={"labels": {"alertname": "Watchdog"}}, expect={"rule": "watchdog", "dropped": True}),
        case(alert={"labels": {"alertname": "X"}}, expect={"rule": None}),
        case(alert={**POD, "status": "resolved"}, expect={"alarm": {"alarmStatus": "ok"}}),
        case(alert={"labels": {"node": "n1", "code": 500}}, expect={"fallbacks": ["nameSpace", "alarmName"]}),
    )
    assert code == 0, text
    assert text.endswith("6 passed, 0 failed\n")


@pytest.mark.parametrize(
    ("expect", "field"),
    [
        ({"rule": "node"}, "rule"),
        ({"rule": None}, "rule"),
        ({"dropped": True}, "dropped"),
        ({"dropped": True, "alarm": {"alarmLevel": "Minor"}}, "dropped"),
        ({"alarm": {"alarmLevel": "Critical"}}, "alarmLevel"),
        ({"alarm": {"resourceName": ""}}, "resourceName"),
        ({"alarm": {"URL": "https://x"}}, "URL"),
        ({"alarm": {"additional": {"cluster": "c"}}}, "additional.cluster"),
        ({"alarm": {"time": 1}}, "time"),
        ({"fallbacks": ["alarmName"]}, "fallbacks"),
        ({"clipped": ["alarmDesc"]}, "clipped"),
    ],
)
async def test_a_case_fails_for_each_thing_it_can_expect(expect: dict[str, object], field: str, tmp_path: Path) -> None:
    code, text = await run(tmp_path, case(expect=expect))
    assert code == 1
    assert "  FAIL  a pod" in text.splitlines()
    assert f"          {field}" in text.splitlines()
    assert text.endswith("0 passed, 1 failed\n")


async def test_a_dropped_alert_never_passes_for_an_alarm_of_empty_fields(tmp_path: Path) -> None:
    watchdog = {"labels": {"alertname": "Watchdog"}}
    code, text = await run(tmp_path, case(alert=watchdog, expect={"alarm": {"URL": ""}}))
    assert code == 1
    assert "          dropped" in text


async def test_a_failure_shows_both_values_and_where_it_came_from(tmp_path: Path) -> None:
    _, text = await run(tmp_path, case(expect={"alarm": {"alarmLevel": "Critical", "regionId": "cn-north-4"}}))
    lines = text.splitlines()
    at = lines.index("          alarmLevel")
    assert lines[at : at + 6] == [
        "          alarmLevel",
        "            - expected  'Critical'",
        "            + got       'Minor'",
        "          regionId",
        "            - expected  'cn-north-4'",
        "            + got       (nothing)",
    ]
    assert lines[at + 6].startswith("        rendered by rule pod of a.yaml; the case is ")
    assert lines[at + 6].endswith("cases.yaml:1")


async def test_a_failure_shows_what_fell_back(tmp_path: Path) -> None:
    _, text = await run(tmp_path, case(alert={"labels": {"node": "n1"}}, expect={"alarm": {"nameSpace": "x"}}))
    assert "        nameSpace fell back: error (division by zero)" in text.splitlines()


async def test_rules_that_no_case_reaches_are_named(tmp_path: Path) -> None:
    _, text = await run(tmp_path, case())
    assert "1 of 3 rules are reached by a case" in text
    assert "a.yaml:1: no case reaches rule watchdog" in text
    assert "a.yaml:1: no case reaches rule node" in text


async def test_junit_has_a_suite_per_file_and_a_failure_per_failed_case(tmp_path: Path) -> None:
    report = tmp_path / "junit.xml"
    await run(tmp_path, case(), case(name="wrong <&> level", expect={"alarm": {"alarmLevel": "Info"}}), junit=report)
    root = ElementTree.parse(report).getroot()
    assert (root.tag, root.get("tests"), root.get("failures")) == ("testsuites", "2", "1")
    (suite,) = root
    assert (suite.tag, suite.get("tests"), suite.get("failures")) == ("testsuite", "2", "1")
    good, bad = suite
    assert (good.get("name"), list(good)) == ("a pod", [])
    assert bad.get("name") == "wrong <&> level"
    assert bad[0].get("message") == "not as expected: alarmLevel"
    assert "expected  'Info'" in (bad[0].text or "")


async def test_files_can_be_named(tmp_path: Path) -> None:
    directory = write(tmp_path / "mappings", a=MAPPING)
    write(directory / "tests", skipped=json.dumps({"tests": [case(expect={"rule": "node"})]}))
    write(tmp_path, mine=json.dumps({"tests": [case()]}))
    out = io.StringIO()
    assert await run_cases(directory, [tmp_path / "mine.yaml"], None, out) == 0
    assert "1 passed, 0 failed" in out.getvalue()


async def test_a_payload_gives_the_alert_and_its_group(tmp_path: Path) -> None:
    (tmp_path / "mappings" / "tests").mkdir(parents=True)
    alerts = [{"status": "firing", "labels": {"pod": f"p{n}"}, "fingerprint": f"f{n}"} for n in range(2)]
    (tmp_path / "mappings" / "tests" / "two.json").write_text(
        json.dumps({"alerts": alerts, "externalURL": "http://am.example"})
    )
    given = {
        "name": "by fingerprint",
        "payload": "two.json",
        "fingerprint": "f1",
        "expect": {"alarm": {"resourceName": "p1", "additional": {"externalURL": "http://am.example"}}},
    }
    code, text = await run(tmp_path, given)
    assert code == 0, text
    with pytest.raises(MappingError, match="the payload has no alert with fingerprint 'f9'"):
        await run(tmp_path, {**given, "fingerprint": "f9"})
    del given["fingerprint"]
    with pytest.raises(MappingError, match="name one by its fingerprint: f0, f1"):
        await run(tmp_path, given)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a file of cases must be a mapping of tests, not nothing"),
        ("tests: {}", "tests must be a list of cases, not an empty mapping"),
        ("tests: []", "tests must be a list of cases, not an empty list"),
        ("tests:\n  - alert: {labels: {a: b}}\n    expect: {rule: pod}", "name is required (say what the case shows)"),
        ("tests:\n  - {name: x, expect: {rule: pod}}", "a case has either an alert or a payload"),
        ("tests:\n  - {name: x, payload: y, alert: {}, expect: {rule: p}}", "a case has either an alert or a payload"),
        ("tests:\n  - {name: x, alert: {labels: {a: b}}}", "expect is required"),
        ("tests:\n  - {name: x, alert: {labels: {a: b}}, expect: {}}", "the case expects nothing"),
        ("tests:\n  - {name: x, alert: {lables: {a: b}}, expect: {rule: x}}", "unknown key 'lables' in an alert"),
        ("tests:\n  - {name: x, alert: {labels: {a: b}}, expects: {rule: x}}", "unknown key 'expects' in a case"),
        ("tests:\n  - {name: x, alert: {labels: {a: b}}, expect: {alarm: {alarmNme: x}}}", "key 'alarmNme' in alarm"),
        ("tests:\n  - {name: x, alert: {labels: {a: 1.5}}, expect: {rule: x}}", "a value here is text, not a number"),
        ("tests:\n  - {name: x, alert: {}, expect: {rule: x}}", "neither labels nor a fingerprint"),
        ("tests:\n  - {name: x, payload: none.json, expect: {rule: x}}", "cannot be read: No such file or directory"),
        ("tests: [", "not YAML"),
    ],
)  # fmt: skip
async def test_a_wrong_case_is_reported_and_nothing_is_run(text: str, message: str, tmp_path: Path) -> None:
    directory = write(tmp_path / "mappings", a=MAPPING)
    write(directory / "tests", cases=text)
    out = io.StringIO()
    with pytest.raises(MappingError) as refused:
        await run_cases(directory, [], None, out)
    assert message in str(refused.value)
    assert out.getvalue() == ""


async def test_nothing_to_run_is_not_a_success(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="no test cases here"):
        await run_cases(write(tmp_path, a=MAPPING), [], None, io.StringIO())


async def test_findings_of_the_mappings_come_first(tmp_path: Path) -> None:
    directory = write(tmp_path, a="rules: []")
    write(directory / "tests", cases=json.dumps({"tests": [case()]}))
    with pytest.raises(MappingError, match="rules must be a list"):
        await run_cases(directory, [], None, io.StringIO())


async def test_the_shipped_mappings_pass_their_cases_and_every_rule_has_one() -> None:
    out = io.StringIO()
    assert await run_cases(shipped(), [], None, out) == 0, out.getvalue()
    (coverage,) = [line for line in out.getvalue().splitlines() if "rules are reached" in line]
    reached, of, *_ = (int(word) for word in coverage.split() if word.isdigit())
    assert reached == of >= 10
