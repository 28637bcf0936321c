"""A draft over the mappings that serve: what is found, compared, explained and tested, and what ends it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from adapter.application import Directory, Node
from adapter.mapping import shipped
from adapter.mapping.draft.comparing import Compared, Draft
from adapter.mapping.draft.process import DraftProcess
from adapter.mapping.render.live import MEMORY
from adapter.mapping.render.process import Limits
from tests.mapping.builders import SOUND, a_request, drafts, one_rule, opened, reasons, rules, write
from tests.mapping.hostile import trap
from tests.stage import until

ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
BACKTRACKING = "{{ labels.trap | regex_search('^(a+)+$') }}"
SLOW = "(range(3000) | map('string') | join | length) < {}"  # below what puts a rule into quarantine


@asynccontextmanager
async def tried_over(folder: Path, text: str = "", **options: Any) -> AsyncIterator[DraftProcess]:
    async with opened(write(folder, a=text or one_rule())) as mappings:
        process = DraftProcess(mappings, **{"seconds": 60.0, **options})  # more than a busy machine needs
        try:
            yield process
        finally:
            await process.close()


def lines(**fields: str) -> str:
    """A rule with each field on a line of its own; the first of `fields` stands in line 4."""
    every = {**fields, **{name: text for name, text in SOUND.items() if name not in fields}}
    return "\n".join(
        ["rules:", "- name: all", "  alarm:", *(f"    {name}: {json.dumps(text)}" for name, text in every.items()), ""]
    )


def errors(compared: Compared) -> list[tuple[str, int, str]]:
    return [(one.file, one.line, one.message) for one in compared.findings if one.severity == "error"]


def tried(compared: Compared) -> list[tuple[str | None, bool, str, str]]:
    return [
        (one["rule"], one["taken"], one["because"]["code"], one["because"]["text"]) for one in compared.rows[0]["tried"]
    ]


async def test_files_lie_over_those_that_serve_and_null_removes(tmp_path: Path) -> None:
    write(tmp_path, b=rules({"name": "late", "alarm": SOUND}))
    async with tried_over(tmp_path) as process:
        same = await process.compare(Draft(), [a_request()])
        assert (same.revision, same.refused, same.findings[0].severity) == (same.serving, False, "warning")
        changed = await process.compare(Draft({"a.yaml": one_rule(resourceName="new")}), [a_request()])
        assert changed.revision != changed.serving
        assert (changed.rows[0]["changed"], changed.hits) == (["resourceName"], {"all": 1, "late": 0})
        removed = await process.compare(Draft({"a.yaml": None}), [a_request()])
        assert [row["draft"]["rule"] for row in removed.rows] == ["late"]
        assert removed.rows[0]["changed"] == ["rule", "additional.rule", "additional.mapping"]
        assert removed.hits == {"late": 1}
        added = await process.compare(Draft({"0.yaml": rules({"name": "none", "drop": True})}), [a_request()])
        assert added.rows[0]["draft"]["dropped"]
        assert "dropped" in added.rows[0]["changed"]


async def test_a_draft_that_is_refused_renders_nothing_and_what_serves_is_shown(tmp_path: Path) -> None:
    async with tried_over(tmp_path) as process:
        compared = await process.compare(Draft({"a.yaml": lines(resourceName="{{ nothing }}")}), [a_request()])
        assert (compared.refused, compared.tests, compared.hits) == (True, [], {})
        assert errors(compared) == [("a.yaml", 4, "unknown name 'nothing'")]
        assert compared.findings[0].column == 23
        (row,) = compared.rows
        assert (row["serving"]["rule"], row["draft"]) == ("all", None)
        for name in ("../b.yaml", "b.txt", ".b.yaml", "folder/b.yaml", "b\n.yaml", ""):
            misnamed = await process.compare(Draft({name: one_rule()}), [])
            assert errors(misnamed) == [(name, 0, "this is no name of a mapping file")]
            assert misnamed.refused
        assert errors(await process.compare(Draft({"a.yaml": None}), [])) == [
            ("", 0, "no mapping file is left"),
        ]


async def test_every_rule_up_to_the_one_that_took_the_alert_says_why(tmp_path: Path) -> None:
    sets = rules(
        {"name": "two", "when": "labels.alertname and labels.instance and labels.job", "alarm": SOUND},
        {"name": "or", "when": 'labels.instance or labels.severity == "critical"', "alarm": SOUND},
        {"name": "dash", "when": 'labels["node-name"] and lookup.team[labels.job]', "alarm": SOUND},
        {"name": "fails", "when": "1 / (labels.job | int) > 0", "alarm": SOUND},
        {"name": "drops", "when": "labels.alertname", "drop": True},
        {"name": "taken", "when": 'labels.alertname == "PodDown" and not labels.job', "alarm": SOUND},
        {"name": "after", "alarm": SOUND},
        lookup={"team": {"db": "dba"}},
    )
    async with tried_over(tmp_path, sets) as process:
        compared = await process.compare(Draft(), [a_request()])
        assert tried(compared)[:3] == [
            ("two", False, "false", "labels.instance is empty"),
            ("or", False, "false", 'labels.instance is empty, labels.severity is "warning"'),
            ("dash", False, "false", 'labels["node-name"] is empty'),
        ]
        (failed, barred, taken) = tried(compared)[3:]
        assert failed[:3] == ("fails", False, "failed")
        assert failed[3].startswith("the condition failed: error (")
        assert barred == (
            "drops", False, "barred", "it would drop the alert, which no rule may after a condition has failed",
        )  # fmt: skip
        assert taken == ("taken", True, "true", 'labels.alertname is "PodDown", labels.job is empty')
        first = compared.rows[0]["tried"][0]
        assert first["because"]["args"] == {"names": [{"name": "labels.instance", "value": ""}]}
        assert (first["file"], first["line"]) == ("a.yaml", 1)
        found = [one for one in compared.findings if "fails for an alert" in one.message]
        assert [one.message.split(":")[0] for one in found] == ["when of rule 'fails'"]


async def test_where_no_rule_takes_the_alert_the_built_in_mapping_is_named(tmp_path: Path) -> None:
    async with tried_over(tmp_path, rules({"name": "none", "when": "labels.job", "alarm": SOUND})) as process:
        compared = await process.compare(Draft(), [a_request()])
        assert tried(compared)[-1] == (None, True, "built_in", "no rule takes it: the built-in mapping reports it")
        assert compared.rows[0]["tried"][-1]["file"] is None
        assert compared.hits == {"none": 0}


async def test_a_part_of_a_condition_that_was_not_reached_is_not_run_to_explain_it(tmp_path: Path) -> None:
    """Alone it would loop, and the condition would be blamed for it."""
    when = "labels.job and " + SLOW.format(0).replace("3000", "99999") + " and 9 ** (9 ** 9)"
    async with tried_over(tmp_path, rules({"name": "trap", "when": when, "drop": True})) as process:
        compared = await process.compare(Draft(), [a_request()])
        assert tried(compared)[0] == ("trap", False, "false", "labels.job is empty")
        assert "trap" not in str([one for one in errors(compared) if "wants" not in one[2]])


async def test_tests_are_run_and_payloads_come_from_what_was_sent_alone(tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text((shipped() / "tests" / "payloads" / "shop.json").read_text())
    case = "  - name: {name}\n    {alert}\n    expect: {{rule: {rule}}}\n"
    alert = "alert: {labels: {alertname: A}}"
    tests = {
        "good.yaml": "tests:\n" + case.format(name="passes", alert=alert, rule="all")
        + case.format(name="fails", alert=alert, rule="none"),
        "payload.yaml": "tests:\n"
        + case.format(name="sent", alert="payload: payloads/../payloads/one.json", rule="all"),
        "payloads/one.json": json.dumps({"alerts": [{"labels": {"alertname": "B"}}]}),
        "disk.yaml": "tests:\n" + case.format(name="absolute", alert=f"payload: {secret}", rule="all"),
        "up.yaml": "tests:\n" + case.format(name="up", alert="payload: ../../../../etc/hostname", rule="all"),
    }  # fmt: skip
    async with tried_over(tmp_path / "mappings") as process:
        compared = await process.compare(Draft(tests=tests), [])
        assert [(one.file, one.line, one.name, one.passed, one.message) for one in compared.tests] == [
            ("good.yaml", 2, "passes", True, ""),
            ("good.yaml", 5, "fails", False, "rule: expected 'none', got 'all'"),
            ("payload.yaml", 2, "sent", True, ""),
        ]
        found = {one.file: (one.message, one.test) for one in compared.findings if one.severity == "error"}
        assert found == {
            "disk.yaml": (f"cannot be read: no {secret} was sent with the tests", True),
            "up.yaml": ("cannot be read: no ../../../../etc/hostname was sent with the tests", True),
        }
        assert not compared.refused, "tests are no part of what would serve"


async def test_the_shipped_mappings_and_their_tests_are_a_draft_without_findings() -> None:
    folder = shipped() / "tests"
    tests = {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}
    async with opened(shipped()) as mappings:
        process = DraftProcess(mappings)
        files = {name: text.decode() for name, text in mappings.rules.texts.items()}
        compared = await process.compare(Draft(files, tests), [a_request()])
        await process.close()
        assert (compared.findings, compared.revision) == ([], mappings.revision)
        assert len(compared.tests) > 40
        assert all(one.passed for one in compared.tests)


async def test_applications_serve_as_in_production_and_may_be_replaced(tmp_path: Path) -> None:
    by_label = one_rule(applicationId="{{ labels.app | application }}")
    async with opened(write(tmp_path, a=by_label)) as mappings:
        await mappings.set_applications({"default": Directory([Node("id-of-coc", "Shop", "", "application")]).index})
        process = DraftProcess(mappings)

        async def ids(applications: Any) -> tuple[str, str]:
            compared = await process.compare(Draft(applications=applications), [a_request({"app": "Shop"})])
            (row,) = compared.rows
            return row["serving"]["body"]["applicationId"], row["draft"]["body"]["applicationId"]

        assert await ids(None) == ("id-of-coc", "id-of-coc")
        assert await ids({"Shop": "mine"}) == ("mine", "mine")
        assert await ids([{"id": "listed", "name": "shop", "type": "application", "integration": "default"}]) == (
            "listed",
            "listed",
        )
        (again,) = await process.render([a_request({"app": "Shop"})])
        assert (again.body or {})["applicationId"] == "id-of-coc"
        compared = await process.compare(Draft(applications=[1]), [])
        assert [one.message.split(":")[0] for one in compared.findings if one.severity == "error"] == [
            "not applications",
        ]
        await process.close()


@pytest.mark.parametrize(
    ("template", "why"),
    [
        (ENDLESS, "timeout (stopped after 1 s)"),
        ("{{ 9 ** (9 ** 9) }}", "timeout (stopped after 1 s)"),
        ("{{ 'a' * 10 ** 9 }}", "memory"),
    ],
)
async def test_a_template_that_loops_or_takes_all_memory_is_named(tmp_path: Path, template: str, why: str) -> None:
    async with tried_over(tmp_path) as process:
        requests = [a_request({"trap": "1"}), a_request()]
        draft = Draft({"a.yaml": lines(resourceName=trap(template))})
        compared = await process.compare(draft, requests)
        assert errors(compared) == [("a.yaml", 4, f"resourceName of rule 'all': it wants too much: {why}")]
        hostile, other = (row["draft"] for row in compared.rows)
        assert [one["field"] for one in hostile["fallbacks"]][:1] != []
        assert other["rule"] == "all"
        assert all(row["serving"]["fallbacks"] == [] for row in compared.rows)
        again = await process.compare(Draft(), requests)
        assert (again.findings, [row["draft"]["fallbacks"] for row in again.rows]) == ([], [[], []])


async def test_a_template_that_only_a_plain_alert_reaches_is_found_too(tmp_path: Path) -> None:
    async with tried_over(tmp_path) as process:
        compared = await process.compare(Draft({"a.yaml": lines(resourceName=ENDLESS)}), [])
        assert errors(compared) == [
            ("a.yaml", 4, "resourceName of rule 'all': it wants too much: timeout (stopped after 1 s)"),
        ]


async def test_a_template_that_fails_for_some_alerts_is_a_warning_at_its_place(tmp_path: Path) -> None:
    async with tried_over(tmp_path) as process:
        draft = Draft({"a.yaml": lines(resourceName="{{ 1 / (labels.n | int) }}")})
        compared = await process.compare(draft, [a_request({"n": "0"}), a_request({"n": "1"}), a_request()])
        assert [(one.file, one.line, one.severity, one.message) for one in compared.findings] == [
            ("a.yaml", 4, "warning", "resourceName of rule 'all': it fails for 2 alerts: division by zero"),
        ]


async def test_when_the_time_is_over_the_rest_is_late_and_what_ran_is_named(tmp_path: Path) -> None:
    many = [{"name": f"slow {n}", "when": SLOW.format(n), "drop": True} for n in range(40)]
    text = json.dumps({"rules": [*many, {"name": "all", "alarm": SOUND}]}, indent=1)
    async with tried_over(tmp_path, seconds=0.5) as process:
        requests = [a_request({"n": str(n)}) for n in range(1000)]
        compared = await process.compare(Draft({"a.yaml": text}), requests)
        assert len(compared.rows) == 1000
        late = [row for row in compared.rows if row.get("late")]
        reached = [row for row in compared.rows if not row.get("late")]
        assert late
        assert all((row["draft"], row["serving"]["rule"]) == (None, "all") for row in late)
        assert all(row["draft"]["rule"] == "all" for row in reached)
        (over,) = [one for one in compared.findings if "were over" in one.message]
        assert f"the 0.5 s for a draft were over after {len(reached)} of 1000 alerts" in over.message
        assert (await process.compare(Draft(), requests[:1])).findings == []


async def test_a_loop_that_outlasts_the_time_is_named_by_file_line_and_field(tmp_path: Path) -> None:
    async with tried_over(tmp_path, seconds=2.0, limits=Limits(60.0, MEMORY)) as process:
        compared = await process.compare(Draft({"a.yaml": lines(resourceName=ENDLESS)}), [a_request()])
        assert errors(compared) == [
            (
                "a.yaml",
                4,
                "resourceName of rule 'all': it ran when the 2 s for a draft were over after 0 of 1 alerts",
            ),
        ]
        assert [(row["draft"], row["late"], row["serving"]["rule"]) for row in compared.rows] == [(None, True, "all")]


async def test_the_process_stays_for_the_next_draft_and_ends_when_idle(tmp_path: Path) -> None:
    async with tried_over(tmp_path, idle_seconds=0.2) as process:
        assert drafts() == []
        await process.compare(Draft(), [a_request()], client="c", seq=9)
        (pid,) = drafts()
        await process.compare(Draft({"a.yaml": one_rule(resourceName="x")}), [a_request()])
        assert drafts() == [pid]
        await until(lambda: drafts() == [], "the end of the idle process")
        assert (await process.compare(Draft(), [a_request()], client="c", seq=1)).rows, "what clients sent is forgotten"


async def test_a_process_killed_under_a_draft_is_started_anew(tmp_path: Path) -> None:
    async with tried_over(tmp_path) as process:
        await process.compare(Draft(), [a_request()])
        (pid,) = drafts()
        os.kill(pid, signal.SIGSTOP)
        comparing = asyncio.create_task(process.compare(Draft({"a.yaml": one_rule(resourceName="x")}), [a_request()]))
        await asyncio.sleep(0)
        os.kill(pid, signal.SIGKILL)
        compared = await comparing
        assert [row["changed"] for row in compared.rows] == [["resourceName"]]
        assert drafts() != [pid]


async def test_rules_that_were_taken_over_meanwhile_are_those_that_serve(tmp_path: Path) -> None:
    async with opened(write(tmp_path, a=one_rule())) as mappings:
        process = DraftProcess(mappings)
        await process.compare(Draft(), [a_request()])
        write(tmp_path, a=one_rule(resourceName="newer"))
        assert await mappings.reload()
        compared = await process.compare(Draft(), [a_request()])
        assert compared.serving == mappings.revision
        assert compared.rows[0]["serving"]["body"]["resourceName"] == "newer"
        (result,) = await process.render([a_request()])
        assert (result.body or {})["resourceName"] == "newer"
        await process.close()


async def test_a_template_of_what_serves_that_a_preview_stops_falls_back_in_previews_alone(tmp_path: Path) -> None:
    hostile = [a_request({"trap": "a" * 40 + "!"}), a_request({"trap": "aa"})]
    async with opened(write(tmp_path, a=one_rule(resourceName=BACKTRACKING))) as mappings:
        process = DraftProcess(mappings)
        first, second = await process.render(hostile)
        assert (reasons(first)["resourceName"], reasons(second)["resourceName"]) == ("timeout", "timeout")
        compared = await process.compare(Draft({"a.yaml": one_rule()}), hostile)
        assert [row["draft"]["fallbacks"] for row in compared.rows] == [[], []]
        (real,) = await mappings.render([a_request({"trap": "aa"})])
        assert (reasons(real), (real.body or {})["resourceName"]) == ({}, "aa")
        write(tmp_path, a=one_rule(resourceName="mended"))
        assert await mappings.reload()
        (mended,) = await process.render(hostile[:1])
        assert reasons(mended) == {}, "what was stopped was a template of the rules before"
        await process.close()


async def test_a_draft_too_large_for_the_memory_is_refused_and_the_next_one_is_tried(tmp_path: Path) -> None:
    async with tried_over(tmp_path, limits=Limits(1.0, 110 << 20)) as process:
        huge = "rules:\n- name: r\n  alarm: {alarmName: x}\nlookup:\n  t: {" + ", ".join(
            f"k{n}: 1" for n in range(60_000)
        )
        compared = await process.compare(Draft({"a.yaml": huge + "}\n"}), [a_request()])
        assert compared.refused
        # Where memory ends inside C code, Python says SystemError at times.
        assert re.match("the files? cannot be read: .*(Memory|System)Error", errors(compared)[0][2])
        assert [row["serving"]["rule"] for row in compared.rows] == ["all"]
        assert (await process.compare(Draft(), [a_request()])).findings == []


async def test_an_answer_has_a_bound_whatever_a_draft_makes_of_an_alert(tmp_path: Path) -> None:
    async with tried_over(tmp_path) as process:
        large = {"additional": {f"k{n}": "{{ 'x' * 16000 }}" for n in range(14)}}
        compared = await process.compare(Draft({"a.yaml": one_rule(**large)}), [a_request()] * 400)
        assert len(compared.rows) == 400
        late = [row for row in compared.rows if row.get("late")]
        assert 100 < len(late) < 300
        assert errors(compared) == [
            ("", 0, f"the answer is larger than 32 MiB after {400 - len(late)} alerts; try fewer"),
        ]


async def test_nothing_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with tried_over(tmp_path) as process:
        await process.compare(Draft({"a.yaml": one_rule(resourceName=ENDLESS)}), [a_request()])
        await process.render([a_request()])
    assert [record for record in caplog.records if record.name.startswith("adapter.mapping")] == []
