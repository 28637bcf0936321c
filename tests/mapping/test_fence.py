"""Whatever a template does costs the fields concerned: every alert is delivered, siblings untouched, the loop free.

The traps spring on a label only, so that they pass the try-out on a plain alert and meet the first real one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from adapter.errors import MappingError
from adapter.mapping.render.request import Reason, RenderResult
from adapter.sandbox.contract import violations
from tests.mapping.workshop import SOUND, a_job, one_rule, opened, rules, told, write

DEADLINE = 0.2
LAG = 0.25  # seconds; what is measured stands in the test's output, and is far below on a quiet machine

HOSTILE = {
    "endless": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "endless_conditions": "{% for a in range(99999) if not range(99999) | select('eq', -1) | list %}{% endfor %}",
    "endless_arithmetic": "{{ 9 ** (9 ** 9) }}",
    "endless_digits": "{{ (7 ** 999999) | string }}",
    "backtracking": "{{ ('a' * 40 ~ '!') | regex_search('^(a+)+$') }}",
    "backtracking_replace": "{{ ('a' * 40 ~ '!') | regex_replace('(a|aa)+$', '') }}",
    "sorting_for_ever": "{% for a in range(9999) %}{{ range(99999) | reverse | sort | length }}{% endfor %}",
    "indent_in_c_code": "{{ ('x\n' * 100000) | indent(100000) }}",
    "huge_text": "{{ 'a' * 10 ** 9 }}",
    "huge_list": "{{ [0] * 10 ** 9 }}",
    "huge_format": "{{ '%0500000000d' % 1 }}",
    "huge_center": "{{ 'a' | center(10 ** 9) }}",
    "huge_join": "{{ range(99999) | join('x' * 100000) }}",
    "doubling_by_tilde": "{% set n = namespace(t='x') %}{% for a in range(64) %}{% set n.t = n.t ~ n.t %}{% endfor %}",
    "doubling_by_replace": (
        "{% set n = namespace(t='x') %}{% for a in range(64) %}{% set n.t = n.t | replace('x', 'xxxx') %}{% endfor %}"
    ),
    "doubling_lists": "{% set n = namespace(t=[0]) %}{% for a in range(64) %}{% set n.t = n.t + n.t %}{% endfor %}",
    "huge_output": "{% for a in range(99999) %}{{ 'x' * 99999 }}{% endfor %}",
    "recursive_macro": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "recursive_loop": "{% for a in [[1]] recursive %}{{ loop([a]) }}{% endfor %}",
    "range_too_long": "{{ range(10 ** 9) | list }}",
    "class_escape": "{{ (labels | list)[0] | attr('__cl' ~ 'ass__') }}",
    "subclasses_escape": "{{ ''[('__cl', 'ass__') | join][('__m', 'ro__') | join][1] }}",
    "format_escape": "{{ '{0.__class__.__init__.__globals__}'.format(labels) }}",
    "format_map_escape": "{{ '{a.__class__}'.format_map({'a': 1}) }}",
    "globals_escape": "{{ range['__glo' ~ 'bals__'] }}",
    "mutating_what_is_shared": "{{ lookup.t['pop']('a') }}",
    "deep_nesting": "{{ " + "[" * 60 + "1 / 0" + "]" * 60 + " }}",
    "surrogates": "{{ '\\ud800' }}{{ 1 / 0 }}",
    "kills_its_own_kind": "{{ dict.fromkeys(range(99999), range(99999) | list) | string }}",
}
"""Templates that must not get their way: endless, huge, recursive, out of the sandbox."""


@asynccontextmanager
async def lag_watched() -> AsyncIterator[list[float]]:
    """The event loop's delays while the body runs, in seconds, from a task that wants to run every millisecond."""
    lags: list[float] = []

    async def watch() -> None:
        while True:
            started = time.perf_counter()
            await asyncio.sleep(0.001)
            lags.append(time.perf_counter() - started - 0.001)

    watcher = asyncio.create_task(watch())
    try:
        yield lags
    finally:
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)


def trap(template: str) -> str:
    """A template that is set off by the label `trap`."""
    return "{% if labels.trap %}" + template + "{% endif %}sprung"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One rule for each trap, all in one set."""
    entries = [
        {"name": name, "when": f"labels.kind == '{name}'", "alarm": {**SOUND, "resourceName": trap(template)}}
        for name, template in HOSTILE.items()
    ]
    plain = {"name": "plain", "alarm": {**SOUND, "resourceName": "{{ labels.pod }}"}}
    text = rules(*entries, plain, lookup={"t": {"a": "b"}})
    return write(tmp_path_factory.mktemp("hostile"), hostile=text)


def test_the_corpus_is_large_enough() -> None:
    assert len(HOSTILE) >= 20


async def test_no_hostile_template_harms_more_than_its_field(
    hostile: Path, record_property: pytest.RecordProperty
) -> None:
    worst: dict[str, float] = {}
    async with opened(hostile, deadline=DEADLINE, memory=256 << 20) as mappings, lag_watched() as lags:
        for name in HOSTILE:
            lags.clear()
            jobs = [a_job({"pod": f"p{number}"}) for number in range(3)]
            jobs.insert(1, a_job({"kind": name, "trap": "yes"}))
            made = await mappings.render(jobs)
            worst[name] = max(lags, default=0.0)
            assert [one.rule for one in made] == ["plain", name, "plain", "plain"], name
            assert told(made[1]) == {"resourceName": told(made[1])["resourceName"]}, name
            assert told(made[1])["resourceName"] in ("error", "timeout", "memory", "crash"), name
            assert [told(one) for one in (made[0], *made[2:])] == [{}, {}, {}], name
            assert [(one.body or {}).get("resourceName") for one in made] == ["p0", None, "p1", "p2"], name
            assert violations(made[1].body or {}) == [], name
    record_property("worst_lag_ms", round(max(worst.values()) * 1000, 1))
    print(f"event loop lag while bombs went off: at most {max(worst.values()) * 1000:.1f} ms")
    assert max(worst.values()) < LAG, worst


async def test_a_template_that_stalled_is_not_run_again(tmp_path: Path) -> None:
    write(tmp_path, a=one_rule(resourceName=trap(HOSTILE["endless"])))
    async with opened(tmp_path, deadline=DEADLINE) as mappings:
        await mappings.render([a_job({"trap": "yes"})])
        started = time.perf_counter()
        made = await mappings.render([a_job({"trap": "yes"}) for _ in range(200)])
        assert all(told(one) == {"resourceName": "timeout"} for one in made)
        assert time.perf_counter() - started < 100 * DEADLINE, "200 stalls would have taken longer"


async def test_what_was_stopped_says_so_to_a_person(tmp_path: Path) -> None:
    write(tmp_path, a=one_rule(resourceName=trap(HOSTILE["endless"])))
    async with opened(tmp_path, deadline=DEADLINE) as mappings:
        (made,) = await mappings.render([a_job({"trap": "yes"})])
    assert made.fallbacks[0].detail == "stopped after 0.2 s"
    assert made.body is not None
    assert made.body["additional"]["fallback"] == "resourceName: timeout (stopped after 0.2 s)"


async def test_a_condition_that_stalls_is_not_true(tmp_path: Path) -> None:
    endless = "labels.trap and range(99999) | map('string') | map('length') | list | length and "
    when = endless + "labels.trap | regex_search('^(a+)+$')"
    write(tmp_path, a=rules({"name": "stuck", "when": when, "drop": True}, {"name": "rest", "alarm": SOUND}))
    async with opened(tmp_path, deadline=DEADLINE) as mappings:
        for _ in range(2):
            (made,) = await mappings.render([a_job({"trap": "a" * 40 + "!"})])
            assert (made.rule, made.dropped, told(made)) == ("rest", False, {"when": "timeout"})


async def test_a_slow_template_is_found_before_the_deadline(tmp_path: Path) -> None:
    """Slow enough to hold up a batch, too quick to be stopped: it is timed alone and then not run again."""
    slow = "{% for a in range(labels.turns | int) %}{% for b in range(20000) %}{% endfor %}{% endfor %}"
    write(tmp_path, a=one_rule(resourceName=slow + "x"))
    async with opened(tmp_path, deadline=2.0) as mappings:
        jobs = [a_job({"turns": "800"}) for _ in range(4)]
        made = [one for _ in range(2) for one in await mappings.render(jobs)]
    assert told(made[-1]) == {"resourceName": "timeout"}
    assert made[-1].fallbacks[0].detail.startswith("it took ")


async def test_a_rule_full_of_traps_costs_two_deadlines_at_most(tmp_path: Path) -> None:
    names = ["resourceName", "resourceId", "regionId", "URL", "nameSpace"]
    write(tmp_path, a=one_rule(**{name: trap(HOSTILE["endless"]) for name in names}))
    async with opened(tmp_path, deadline=DEADLINE) as mappings:
        (made,) = await mappings.render([a_job({"trap": "yes"})])
        assert {told(made)[name] for name in names} == {"timeout"}
        assert made.rule == "all"


async def test_a_set_full_of_traps_does_not_hold_a_call_for_ever(tmp_path: Path) -> None:
    entries = [
        {"name": f"r{n}", "when": f"labels.n == '{n}'", "alarm": {**SOUND, "resourceName": trap(HOSTILE["endless"])}}
        for n in range(12)
    ]
    write(tmp_path, a=rules(*entries, {"name": "rest", "alarm": SOUND}))
    async with opened(tmp_path, deadline=DEADLINE) as mappings:
        made = await mappings.render([a_job({"n": str(n), "trap": "yes"}) for n in range(12)])
        assert len(made) == 12
        assert all(one.body is not None and violations(one.body) == [] for one in made)
        assert [one.rule for one in made[:3]] == ["r0", "r1", "r2"]
        assert made[-1].rule is None, "the fourth stall of a call ends it: the rest gets the built-in mapping"
        again = await mappings.render([a_job({"n": str(n)}) for n in range(12)])
        assert [one.rule for one in again] == [f"r{n}" for n in range(12)]


async def test_an_alert_that_cannot_be_read_spoils_nothing_but_itself(tmp_path: Path) -> None:
    write(tmp_path, a=one_rule())
    async with opened(tmp_path) as mappings:
        broken = a_job()._replace(raw=b'{"alert": ')
        made = await mappings.render([a_job(), broken, a_job()])
    assert [one.rule for one in made] == ["all", None, "all"]
    assert set(told(made[1]).values()) == {"error"}
    assert made[1].body is not None


async def test_a_killed_child_is_replaced_and_nobody_notices(tmp_path: Path) -> None:
    write(tmp_path, a=one_rule())
    async with opened(tmp_path) as mappings:
        await mappings.render([a_job()])
        for _ in range(3):
            (pid,) = children()
            os.kill(pid, signal.SIGKILL)
            made = await mappings.render([a_job() for _ in range(100)])
            assert [told(one) for one in made] == [{}] * 100


async def test_a_child_killed_again_and_again_costs_templates_not_alerts(tmp_path: Path) -> None:
    """As the kernel does when memory is short: what was under way is suspected, and no alert is lost."""
    busy = "{% for a in range(100) %}{% for b in range(1000) %}{% endfor %}{% endfor %}x"
    write(tmp_path, a=one_rule(resourceName=busy))
    async with opened(tmp_path, deadline=5.0) as mappings:

        async def kill() -> None:
            while True:
                await asyncio.sleep(0.05)
                for pid in children():
                    os.kill(pid, signal.SIGKILL)

        killer = asyncio.create_task(kill())
        try:
            made = await mappings.render([a_job() for _ in range(200)])
        finally:
            killer.cancel()
            await asyncio.gather(killer, return_exceptions=True)
        assert len(made) == 200
        assert all(one.body is not None and violations(one.body) == [] for one in made)


async def test_calls_at_the_same_time_get_their_own_answers(tmp_path: Path) -> None:
    write(tmp_path, a=one_rule(resourceName="{{ labels.pod }}"))
    async with opened(tmp_path) as mappings:

        async def call(name: str) -> list[RenderResult]:
            return await mappings.render([a_job({"pod": f"{name}-{number}"}) for number in range(150)])

        for name, made in zip("abc", await asyncio.gather(*map(call, "abc")), strict=True):
            assert [(one.body or {})["resourceName"] for one in made] == [f"{name}-{n}" for n in range(150)]


async def test_a_call_given_up_does_not_leave_its_answer_to_the_next(tmp_path: Path) -> None:
    write(tmp_path, a=one_rule(resourceName="{{ labels.pod }}"))
    async with opened(tmp_path) as mappings:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.001):
                await mappings.render([a_job({"pod": "old"}) for _ in range(5000)])
        (made,) = await mappings.render([a_job({"pod": "new"})])
        assert (made.body or {})["resourceName"] == "new"


async def test_large_alerts_go_in_several_frames(tmp_path: Path) -> None:
    write(tmp_path, a=one_rule())
    async with opened(tmp_path) as mappings:
        jobs = [a_job(annotations={"summary": "x" * 3_000_000}) for _ in range(4)]
        made = await mappings.render(jobs)
    assert [one.clipped for one in made] == [("alarmDesc", "additional")] * 4


async def test_nothing_to_render_is_rendered_at_once(tmp_path: Path) -> None:
    async with opened(write(tmp_path, a=one_rule())) as mappings:
        assert await mappings.render([]) == []


async def test_no_child_outlives_its_mappings(tmp_path: Path) -> None:
    async with opened(write(tmp_path, a=one_rule())):
        assert len(children()) == 1
    assert children() == []


async def test_a_field_that_stalls_on_every_alert_falls_back_from_the_start_and_is_a_finding(tmp_path: Path) -> None:
    write(tmp_path, a=one_rule(resourceName=HOSTILE["endless"]))
    async with opened(tmp_path, deadline=DEADLINE) as mappings:
        (finding,) = mappings.findings
        assert "tried on a plain alert" in finding.message
        (made,) = await mappings.render([a_job()])
        assert [(item.field, item.reason) for item in made.fallbacks] == [("resourceName", Reason.TIMEOUT)]
        assert not await mappings.reload()
        assert mappings.findings == (finding,)
    assert children() == []


async def test_a_reload_that_stalls_on_every_alert_is_refused(tmp_path: Path) -> None:
    async with opened(write(tmp_path, a=one_rule()), deadline=DEADLINE) as mappings:
        before = mappings.revision
        write(tmp_path, a=one_rule(resourceName=HOSTILE["endless"]))
        with pytest.raises(MappingError, match=r"a\.yaml:1:\d+: tried on a plain alert"):
            await mappings.reload()
        assert mappings.revision == before
        assert len(children()) == 1


async def test_the_child_gets_nothing_of_our_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "s3cr3t")
    async with opened(write(tmp_path, a=one_rule())):
        (pid,) = children()
        inherited = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"s3cr3t" not in inherited
    assert b"HOME=" not in inherited


async def test_the_child_dies_with_its_parent_even_in_an_endless_loop(tmp_path: Path) -> None:
    """Its CPU timer is not ours: it ends the child after the deadline with nobody there to kill it."""
    write(tmp_path, a=one_rule(resourceName=trap(HOSTILE["endless"])))
    async with opened(tmp_path, deadline=DEADLINE) as mappings:
        (pid,) = children()
        call = asyncio.create_task(mappings.render([a_job({"trap": "yes"})]))
        async with asyncio.timeout(30):
            while Path(f"/proc/{pid}").exists():
                await asyncio.sleep(0.01)
        await call


def children() -> list[int]:
    """Rendering children of this process that are alive."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if int(stat[1]) == os.getpid() and stat[0] != "Z" and b"adapter.mapping.render.worker" in command:
                found.append(int(entry.name))
    return found
