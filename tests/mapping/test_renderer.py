"""A template can cost its field or, if it ends the worker process, its rule; never an alert, a sibling or the loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from adapter.mapping.render.renderer import LEAST_LIFE
from adapter.mapping.render.request import RenderResult
from adapter.sandbox.contract import violations
from tests.mapping.builders import SOUND, a_request, one_rule, opened, reasons, rules, workers, write
from tests.mapping.hostile import HOSTILE, trap
from tests.stage import until

DEADLINE = 0.2
TEMPLATES = {"alarmName", "alarmLevel", "nameSpace", "alarmDesc", "resourceName"}
"""The fields of a rule of SOUND and a resourceName that are templates; applicationId is plain text."""


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


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One rule for each hostile template, all in one set."""
    entries = [
        {"name": name, "when": f"labels.kind == '{name}'", "alarm": {**SOUND, "resourceName": trap(template)}}
        for name, template in HOSTILE.items()
    ]
    plain = {"name": "plain", "alarm": {**SOUND, "resourceName": "{{ labels.pod }}"}}
    text = rules(*entries, plain, lookup={"t": {"a": "b"}})
    return write(tmp_path_factory.mktemp("hostile"), hostile=text)


def test_the_corpus_is_large_enough() -> None:
    assert len(HOSTILE) >= 20


async def test_no_hostile_template_harms_more_than_its_alert(hostile: Path) -> None:
    lag: dict[str, float] = {}
    async with opened(hostile, deadline=DEADLINE, memory=256 << 20) as mappings, lag_watched() as lags:
        for name in HOSTILE:
            lags.clear()
            requests = [a_request({"pod": f"p{number}"}) for number in range(3)]
            requests.insert(1, a_request({"kind": name, "trap": "yes"}))
            results = await mappings.render(requests)
            lag[name] = max(lags, default=0.0)
            assert [one.rule for one in results] == ["plain", name, "plain", "plain"], name
            assert [reasons(one) for one in (results[0], *results[2:])] == [{}, {}, {}], name
            assert [(one.body or {}).get("resourceName") for one in results] == ["p0", None, "p1", "p2"], name
            assert violations(results[1].body or {}) == [], name
            reason = reasons(results[1])["resourceName"]
            assert reason in ("error", "memory", "timeout"), name
            cost = TEMPLATES if reason == "timeout" else {"resourceName"}
            assert reasons(results[1]) == dict.fromkeys(cost, reason), name
    print(f"event loop lag while bombs went off: at most {max(lag.values()) * 1000:.1f} ms")


async def test_the_event_loop_goes_on_while_a_template_runs_to_its_deadline(tmp_path: Path) -> None:
    write(tmp_path, a=one_rule(resourceName=trap(HOSTILE["endless"])))
    async with opened(tmp_path, deadline=3.0) as mappings, lag_watched() as lags:
        (result,) = await mappings.render([a_request({"trap": "yes"})])
    assert reasons(result)["resourceName"] == "timeout"
    assert max(lags) < 1.0, "a third of the time that the template took"


@pytest.mark.parametrize(("template", "reason"), [("{{ 1 / 0 }}", "error"), (HOSTILE["huge_text"], "memory")])
async def test_a_template_that_fails_costs_its_field_and_is_run_again(
    template: str, reason: str, tmp_path: Path
) -> None:
    write(tmp_path, a=one_rule(resourceName=trap(template)))
    async with opened(tmp_path) as mappings:
        pids = workers()
        results = await mappings.render([a_request({"trap": "yes"}), a_request(), a_request({"trap": "yes"})])
        assert [reasons(one) for one in results] == [{"resourceName": reason}, {}, {"resourceName": reason}]
        assert workers() == pids


async def test_a_template_that_is_stopped_costs_its_rule_until_the_next_reload(tmp_path: Path) -> None:
    stopped = {
        "name": "stopped",
        "when": "labels.n == '1'",
        "alarm": {**SOUND, "resourceName": trap(HOSTILE["endless"])},
    }
    write(tmp_path, a=rules(stopped, {"name": "rest", "alarm": SOUND}))
    async with opened(tmp_path, deadline=DEADLINE) as mappings:
        await mappings.render([a_request({"n": "1", "trap": "yes"})])
        pids = workers()
        results = await mappings.render([a_request({"n": "1"}), a_request({"n": "1", "trap": "yes"}), a_request()])
        assert [one.rule for one in results] == ["stopped", "stopped", "rest"]
        assert [reasons(one) for one in results] == [dict.fromkeys(TEMPLATES, "timeout")] * 2 + [{}]
        assert (results[0].body or {})["applicationId"] == "app-1", "plain text is no template"
        assert (results[0].body or {})["alarmName"] == "PodDown"
        assert workers() == pids, "nothing ran that had to be stopped"
        write(tmp_path, a=rules({**stopped, "alarm": SOUND}, {"name": "rest", "alarm": SOUND}))
        assert await mappings.reload()
        (mended,) = await mappings.render([a_request({"n": "1", "trap": "yes"})])
        assert (mended.rule, reasons(mended)) == ("stopped", {})


async def test_a_rule_in_quarantine_stays_there_when_the_worker_is_restarted(tmp_path: Path) -> None:
    write(tmp_path, a=one_rule(resourceName=trap(HOSTILE["endless"])))
    async with opened(tmp_path, deadline=DEADLINE) as mappings:
        await mappings.render([a_request({"trap": "yes"})])
        (pid,) = workers()
        os.kill(pid, signal.SIGKILL)
        results = await mappings.render([a_request(), a_request()])
    assert [set(reasons(one)) for one in results] == [TEMPLATES] * 2


async def test_the_alarm_says_which_template_was_stopped(tmp_path: Path) -> None:
    write(tmp_path, a=one_rule(resourceName=trap(HOSTILE["endless"])))
    async with opened(tmp_path, deadline=DEADLINE) as mappings:
        (result,) = await mappings.render([a_request({"trap": "yes"})])
    details = {field: why.detail for field, why in result.fallbacks.items() if why.detail}
    assert details == {"resourceName": "stopped after 0.2 s"}
    assert "resourceName: timeout (stopped after 0.2 s)" in (result.body or {})["additional"]["fallback"]


async def test_a_condition_that_is_stopped_is_not_true(tmp_path: Path) -> None:
    endless = "labels.trap and range(99999) | map('string') | map('length') | list | length and "
    when = endless + "labels.trap | regex_search('^(a+)+$')"
    write(tmp_path, a=rules({"name": "stuck", "when": when, "drop": True}, {"name": "rest", "alarm": SOUND}))
    async with opened(tmp_path, deadline=DEADLINE) as mappings:
        for _ in range(2):
            (result,) = await mappings.render([a_request({"trap": "a" * 40 + "!"})])
            assert (result.rule, result.dropped, reasons(result)) == ("rest", False, {"when": "timeout"})


async def test_a_slow_template_is_found_before_the_deadline(tmp_path: Path) -> None:
    """A tenth of the deadline is enough; the alert that took so long is as written."""
    slow = "{% for a in range(labels.turns | int) %}{% for b in range(20000) %}{% endfor %}{% endfor %}"
    write(tmp_path, a=one_rule(resourceName=slow + "x"))
    async with opened(tmp_path, deadline=5.0) as mappings:
        first, second = await mappings.render([a_request({"turns": "2000"}), a_request({"turns": "1"})])
    assert reasons(first) == {}
    assert reasons(second) == dict.fromkeys(TEMPLATES, "timeout")
    (detail,) = {why.detail for why in second.fallbacks.values() if why.detail}
    assert detail.startswith("it took ")


async def test_a_rule_full_of_traps_is_stopped_once(tmp_path: Path) -> None:
    names = ["resourceName", "resourceId", "regionId", "URL", "nameSpace"]
    write(tmp_path, a=one_rule(**{name: trap(HOSTILE["endless"]) for name in names}))
    async with opened(tmp_path, deadline=DEADLINE) as mappings:
        (result,) = await mappings.render([a_request({"trap": "yes"})])
    assert result.rule == "all"
    assert {reasons(result)[name] for name in names} == {"timeout"}
    assert len([why.detail for why in result.fallbacks.values() if why.detail]) == 1


async def test_a_set_full_of_traps_does_not_hold_a_call_for_ever(tmp_path: Path) -> None:
    entries = [
        {"name": f"r{n}", "when": f"labels.n == '{n}'", "alarm": {**SOUND, "resourceName": trap(HOSTILE["endless"])}}
        for n in range(12)
    ]
    write(tmp_path, a=rules(*entries, {"name": "rest", "alarm": SOUND}))
    async with opened(tmp_path, deadline=DEADLINE) as mappings:
        results = await mappings.render([a_request({"n": str(n), "trap": "yes"}) for n in range(12)])
        assert len(results) == 12
        assert all(one.body is not None and violations(one.body) == [] for one in results)
        # The eighth stop of a call ends it: the rest gets the built-in mapping.
        assert [one.rule for one in results] == [f"r{n}" for n in range(7)] + [None] * 5
        again = await mappings.render([a_request({"n": str(n)}) for n in range(12)])
        assert [one.rule for one in again] == [f"r{n}" for n in range(12)]


async def test_an_alert_that_cannot_be_read_spoils_nothing_but_itself(tmp_path: Path) -> None:
    write(tmp_path, a=one_rule())
    async with opened(tmp_path) as mappings:
        broken = a_request()._replace(raw=b'{"alert": ')
        results = await mappings.render([a_request(), broken, a_request()])
    assert [one.rule for one in results] == ["all", None, "all"]
    assert set(reasons(results[1]).values()) == {"error"}
    assert results[1].body is not None


async def test_a_killed_worker_is_replaced_and_no_alert_suffers(tmp_path: Path) -> None:
    write(tmp_path, a=one_rule())
    async with opened(tmp_path) as mappings:
        await mappings.render([a_request()])
        for _ in range(3):
            (pid,) = workers()
            os.kill(pid, signal.SIGKILL)
            results = await mappings.render([a_request() for _ in range(100)])
            assert [reasons(one) for one in results] == [{}] * 100


async def test_an_idle_worker_that_was_killed_is_replaced_before_the_next_alert(tmp_path: Path) -> None:
    write(tmp_path, a=one_rule())
    async with opened(tmp_path) as mappings:
        (pid,) = workers()
        await asyncio.sleep(LEAST_LIFE)  # one that ends sooner waits for the next call
        os.kill(pid, signal.SIGKILL)
        (new,) = await until(lambda: [found for found in workers() if found != pid], "another worker process")
        await mappings.render([a_request()])
        assert workers() == [new]
    assert workers() == []


async def test_a_worker_killed_again_and_again_loses_no_alert(tmp_path: Path) -> None:
    """As the kernel does when memory is short."""
    busy = "{% for a in range(100) %}{% for b in range(1000) %}{% endfor %}{% endfor %}x"
    write(tmp_path, a=one_rule(resourceName=busy))
    async with opened(tmp_path, deadline=5.0) as mappings:

        async def kill() -> None:
            while True:
                await asyncio.sleep(0.05)
                for pid in workers():
                    os.kill(pid, signal.SIGKILL)

        killer = asyncio.create_task(kill())
        try:
            results = await mappings.render([a_request() for _ in range(200)])
        finally:
            killer.cancel()
            await asyncio.gather(killer, return_exceptions=True)
        assert len(results) == 200
        assert all(one.body is not None and violations(one.body) == [] for one in results)


async def test_without_a_worker_process_alerts_get_the_built_in_mapping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, a=one_rule())
    async with opened(tmp_path) as mappings:
        (pid,) = workers()
        os.kill(pid, signal.SIGKILL)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", str(tmp_path / "missing"))
            results = await mappings.render([a_request(), a_request()])
        assert [set(reasons(one).values()) for one in results] == [{"crash"}] * 2
        (result,) = await mappings.render([a_request()])
        assert reasons(result) == {}


async def test_calls_at_the_same_time_get_their_own_answers(tmp_path: Path) -> None:
    write(tmp_path, a=one_rule(resourceName="{{ labels.pod }}"))
    async with opened(tmp_path) as mappings:

        async def call(name: str) -> list[RenderResult]:
            return await mappings.render([a_request({"pod": f"{name}-{number}"}) for number in range(150)])

        for name, results in zip("abc", await asyncio.gather(*map(call, "abc")), strict=True):
            assert [(one.body or {})["resourceName"] for one in results] == [f"{name}-{n}" for n in range(150)]


async def test_a_call_given_up_does_not_leave_its_answer_to_the_next(tmp_path: Path) -> None:
    write(tmp_path, a=one_rule(resourceName="{{ labels.pod }}"))
    async with opened(tmp_path) as mappings:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.001):
                await mappings.render([a_request({"pod": "old"}) for _ in range(5000)])
        (result,) = await mappings.render([a_request({"pod": "new"})])
        assert (result.body or {})["resourceName"] == "new"


async def test_large_alerts_go_in_several_frames(tmp_path: Path) -> None:
    write(tmp_path, a=one_rule())
    async with opened(tmp_path) as mappings:
        requests = [a_request(annotations={"summary": "x" * 3_000_000}) for _ in range(4)]
        results = await mappings.render(requests)
    assert [one.clipped for one in results] == [("alarmDesc", "additional")] * 4


async def test_nothing_to_render_is_rendered_at_once(tmp_path: Path) -> None:
    async with opened(write(tmp_path, a=one_rule())) as mappings:
        assert await mappings.render([]) == []


async def test_no_worker_outlives_its_mappings(tmp_path: Path) -> None:
    async with opened(write(tmp_path, a=one_rule())):
        assert len(workers()) == 1
    assert workers() == []


async def test_the_worker_gets_nothing_of_our_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "s3cr3t")
    async with opened(write(tmp_path, a=one_rule())):
        (pid,) = workers()
        inherited = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"s3cr3t" not in inherited
    assert b"HOME=" not in inherited


async def test_the_worker_dies_with_its_parent_even_in_an_endless_loop(tmp_path: Path) -> None:
    """Its CPU timer is not ours: it ends the process after the deadline without the service."""
    write(tmp_path, a=one_rule(resourceName=trap(HOSTILE["endless"])))
    async with opened(tmp_path, deadline=DEADLINE) as mappings:
        (pid,) = workers()
        call = asyncio.create_task(mappings.render([a_request({"trap": "yes"})]))
        async with asyncio.timeout(30):
            while Path(f"/proc/{pid}").exists():
                await asyncio.sleep(0.01)
        await call
