"""Rows 21, 23, 28, 29, 32, 35, 36 and 42: webhooks that are large, broken off, damaged or extreme, at a process."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import aiohttp

from adapter.clock import SystemClock
from adapter.errors import PayloadError
from adapter.intake.accept import Acceptor
from adapter.lifecycle import Policy
from adapter.metrics import Metrics
from adapter.sandbox.contract import violations as contract
from adapter.store.memory import MemoryStore
from tests.faults.chaos import alive, law, nth_state, poster, process, steps_at
from tests.faults.oracle import Ledger, examine
from tests.faults.result import CaseResult, case_result, quantile, unless
from tests.flow.attacks import peak_memory
from tests.flow.mutants import mutants as corpus
from tests.flow.mutants import mutated_bodies
from tests.stage import adapter, alert, drained, fetch, post, sandbox, values, webhook, write_config

MIB = 2**20


async def burst(folder: Path, *, alerts: int, bodies: int, seconds: float) -> CaseResult:
    """Row 21: `alerts` alerts in one body, as many again in `bodies` bodies; then deliver for at most `seconds`."""
    more = f"webhook: {{max_body: {max(16, alerts // 1500)}MiB}}\nlimits: {{backlog: {4 * alerts}}}\n"
    async with (
        sandbox() as coc,
        process(write_config(folder, coc.port, more)) as service,
        aiohttp.ClientSession() as http,
    ):
        assert service.now is not None
        began = time.monotonic()
        whole = webhook(*(alert(f"One{n}") for n in range(alerts)))
        status, text = await post(f"{service.url}/webhook", whole, timeout=aiohttp.ClientTimeout(120))
        once = time.monotonic() - began
        taken: list[float] = []
        send = poster(http, service.url, taken)
        each = alerts // bodies
        began = time.monotonic()
        refused: Counter[int] = Counter()
        queue = iter(range(bodies))

        async def sender() -> None:
            for number in queue:
                body = webhook(*(alert(f"Many{number}x{n}") for n in range(each)))
                while (answered := await send(body)) != 200:
                    refused[answered] += 1
                    await asyncio.sleep(0.2)

        await asyncio.gather(*(sender() for _ in range(16)))
        many = time.monotonic() - began
        due = alerts + bodies * each
        before, began = coc.count, time.monotonic()
        while coc.count < due and time.monotonic() - began < seconds:
            await asyncio.sleep(0.2)
        rate = (coc.count - before) / max(0.001, time.monotonic() - began)
        scrape = await fetch(f"{service.url}/metrics")
        memory = peak_memory(service.now.process.pid) / MIB
        enqueued = values(scrape, "coc_adapter_reports_enqueued_total")
    figures = {
        f"s for one body of {alerts} alerts ({len(whole) / MIB:.0f} MiB)": round(once, 2),
        "alerts/s in many bodies": round(bodies * each / many),
        "ms p99": round(quantile(taken, 0.99) * 1000),
        "answers of 503 before": refused[503],
        "MiB of memory at most": round(memory),
        "reports/s drained": round(rate),
    }
    return case_result(
        figures,
        unless(status == 200, f"the large body is answered {status} {text}"),
        unless(enqueued == due, f"C: {enqueued:.0f} of {due} owed"),
        unless(set(refused) <= {503}, f"answered {dict(refused)}"),
        law(scrape),
    )


async def given_up(folder: Path, *, rounds: int) -> CaseResult:
    """Row 23: the client disconnects in the middle of the body or before the answer, and sends again."""
    async with sandbox() as coc, process(write_config(folder, coc.port)) as service:
        ledger = Ledger()
        for number in range(rounds):
            alerts = [nth_state(f"G{number}x{n}", 1) for n in range(10)]
            ledger.sent(alerts)
            body = webhook(*alerts)
            head = f"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            for part in (body[: len(body) // 2], body, body):
                _, writer = await asyncio.open_connection("127.0.0.1", service.port)
                writer.write(head + part)
                await writer.drain()
                writer.close()
            status, text = await post(f"{service.url}/webhook", body)
            assert status == 200, f"{status} {text}"
            ledger.acknowledged(alerts)
            await asyncio.sleep(0.01)
        liveness = await alive(service.url, coc, ledger)
        scrape = await drained(service.url)
        verdict = examine(ledger, steps_at(coc))
    figures = {"webhooks given up": 3 * rounds, "alarms": verdict.owed, "duplicates": verdict.duplicates}
    return case_result(figures, verdict.violations(), liveness, law(scrape))


async def mutants(folder: Path, *, bodies: int, seed: int = 28) -> CaseResult:
    """Row 28: real bodies with one to three mutations each."""
    async with sandbox() as coc, process(write_config(folder, coc.port)) as service:
        assert service.now is not None
        began = time.monotonic()
        statuses = await mutated_bodies(service.url, bodies, seed=seed, at_once=32)
        rate = bodies / (time.monotonic() - began)
        liveness = await alive(service.url, coc, Ledger(), seconds=60.0)
        log, memory = service.now.log_text, peak_memory(service.now.process.pid) / MIB
        code = await service.now.terminate()
    figures = {
        "bodies": sum(statuses.values()),
        "by status": dict(sorted(statuses.items())),
        "bodies/s": round(rate),
        "MiB of memory at most": round(memory),
    }
    return case_result(
        figures,
        liveness,
        unless(set(statuses) <= {200, 400}, f"answered {dict(statuses)}"),
        unless("Traceback" not in log and "bug in the adapter" not in log, "a bug in the log"),
        unless(code == 0, f"exit code {code}"),
    )


async def mutants_inside(folder: Path, *, bodies: int, seed: int = 29) -> CaseResult:
    """Row 28 without the network: every damaged body is committed or raises PayloadError."""
    clock = SystemClock()
    metrics = Metrics(["default"], clock=clock)

    def acceptor() -> Acceptor:
        store = MemoryStore(backlog=10**9, clock=clock)
        return Acceptor(
            store,
            clock=clock,
            policy=Policy(0, False),
            metrics=metrics,
            revision=lambda: "r1",
            owed=lambda integration: None,
        )

    intake = acceptor()
    taken = refused = 0
    began = time.monotonic()
    wrong: list[str] = []
    for number, body in enumerate(corpus(seed, bodies)):
        try:
            await intake.accept("default", body)
            taken += 1
        except PayloadError:
            refused += 1
        except Exception as exc:
            wrong.append(f"body {number} of seed {seed}: {type(exc).__name__}: {exc}"[:300])
        if number % 20_000 == 19_999:  # the memory store keeps everything
            intake = acceptor()
    rate = bodies / (time.monotonic() - began)
    return case_result({"bodies": bodies, "taken": taken, "refused": refused, "bodies/s": round(rate)}, wrong)


async def one_bad(folder: Path, *, alerts: int) -> CaseResult:
    """Row 29: one unusable alert among many."""
    async with sandbox() as coc, process(write_config(folder, coc.port)) as service:
        ledger = Ledger()
        good = [nth_state(f"Good{n}", 1) for n in range(alerts - 1)]
        everything: list[Any] = [
            *good[: alerts // 2],
            {"status": "firing", "labels": {"alertname": [7]}},
            *good[alerts // 2 :],
        ]
        status, text = await post(f"{service.url}/webhook", webhook(*everything))
        ledger.acknowledged(good)
        await drained(service.url)
        rejects = json.loads(await fetch(f"http://127.0.0.1:{service.admin}/api/v1/rejects"))
        verdict = examine(ledger, steps_at(coc))
    return case_result(
        {"alerts": alerts, "delivered": verdict.arrived, "rejects kept": len(rejects)},
        verdict.violations(),
        unless(status == 200 and len(rejects) == 1, f"{status} {text}, {len(rejects)} rejects"),
    )


DENSE: Final = ("0", "{}", "[]", '""', "[0]", "1.5e99", '{"a":1}')


async def dense(folder: Path, *, mebibytes: int) -> CaseResult:
    """Row 42: gzip bodies of a few kB that hold millions of values, four at once, beside an honest sender."""
    wrong: list[str] = []
    answered: Counter[int] = Counter()
    async with sandbox() as coc, adapter(write_config(folder, coc.port)) as service:
        url, before = f"{service.url}/webhook", peak_memory(service.process.pid)
        for value in DENSE:
            entries = b",".join([value.encode()] * (mebibytes * MIB // (len(value) + 1)))
            body = gzip.compress(b'{"alerts":[' + entries + b"]}")
            headers = {"Content-Encoding": "gzip"}
            answers = await asyncio.gather(*(post(url, body, headers=headers) for _ in range(4)))
            answered.update(status for status, _ in answers)
            wrong += [unless({status for status, _ in answers} <= {413, 503}, f"{value}: {answers}")]
        grown = (peak_memory(service.process.pid) - before) / MIB
        wrong += [await alive(service.url, coc, Ledger(), seconds=10.0)]
    figures = {"bodies": 4 * len(DENSE), "by status": dict(answered), "MiB grown at most": round(grown)}
    return case_result(figures, wrong, unless(grown < 256, f"grown by {grown:.0f} MiB"))


def extremes(size: int) -> dict[str, dict[str, Any]]:
    """Unusual labels and annotations by name; the longest has `size` characters."""
    return {
        "a huge label": {"labels": {"big": "x" * size}},
        "a huge annotation": {"annotations": {"description": "長" * (size // 4)}},
        "10000 labels": {"labels": {f"l{n}": str(n) for n in range(10_000)}},
        "NUL": {"labels": {"pod": "a\x00b"}, "annotations": {"summary": "\x00"}},
        "right to left": {"labels": {"pod": "\u202eabc\u202c"}, "annotations": {"summary": "\u05e9\u05dc\u05d5\u05dd"}},
        "emoji": {
            "labels": {"pod": "\U0001f525" * 300},
            "annotations": {"summary": "\U0001f468\u200d\U0001f469" * 200},
        },
        "braces": {"labels": {"pod": "{{ 7*7 }}{% for %}"}, "annotations": {"summary": "{{ labels }}"}},
        "line ends": {"labels": {"pod": "a\r\nX-Evil: 1"}, "annotations": {"summary": "a\r\n\r\nb"}},
        "odd names": {"labels": {"items": "x", "a.b c": "y", "告警": "z"}},
        "a long name": {"labels": {"alertname": "N" * 5000}},
        "a bad level": {"labels": {"severity": "\u2603"}},
        "nothing but a label": {"labels": {"only": "this"}, "plain": True},
    }


async def extreme_labels(folder: Path, *, size: int) -> CaseResult:
    """Rows 32 and 35: any label reaches COC within its contract; an alert without a name gets the built-in body."""
    async with sandbox() as coc, process(write_config(folder, coc.port)) as service:
        cases = extremes(size)
        for number, (name, changes) in enumerate(cases.items()):
            one = alert(f"Extreme{number}", labels=changes.get("labels", {}))
            one["annotations"] |= changes.get("annotations", {})
            if changes.get("plain"):
                one["labels"], one["annotations"] = {"only": "this"}, {}
            status, text = await post(f"{service.url}/webhook", webhook(one), timeout=aiohttp.ClientTimeout(60))
            assert status == 200, (name, text)
        scrape = await drained(service.url)
        bodies = coc.bodies
    broken = [line for body in bodies for line in contract(body)]
    return case_result(
        {"alerts": len(cases), "at COC": len(bodies), "outside its contract": len(broken)},
        [str(line) for line in broken],
        unless(len(bodies) == len(cases), f"{len(bodies)} of {len(cases)} arrived"),
        unless(
            not any("x49x" in str(body) or " 49" in str(body["alarmName"]) for body in bodies), "a label was a template"
        ),
        law(scrape),
    )


async def no_mapping(folder: Path, *, alerts: int) -> CaseResult:
    """Row 35: no rule takes any alert, and half of them have no alertname."""
    rules = folder / "mappings"
    rules.mkdir()
    (rules / "none.yaml").write_text("rules:\n  - name: never\n    when: labels.unset == 'x'\n    drop: true\n")
    async with sandbox() as coc, process(write_config(folder, coc.port, "mappings: mappings/\n")) as service:
        ledger = Ledger()
        unmapped = [nth_state(f"U{n}", 1) for n in range(alerts)]
        for one in unmapped[::2]:
            one["labels"] = {"instance": one["labels"].pop("alertname")}
        await post(f"{service.url}/webhook", webhook(*unmapped))
        ledger.acknowledged(unmapped)
        scrape = await drained(service.url)
        verdict = examine(ledger, steps_at(coc))
        broken = [str(line) for body in coc.bodies for line in contract(body)]
    fallbacks = values(scrape, "coc_adapter_mapping_fallbacks_total", reason="no rule", field="alarmName")
    share = 100 * fallbacks / alerts
    return case_result(
        {"alerts": alerts, "% by the fallback": round(share)},
        verdict.violations(),
        broken,
        unless(fallbacks == alerts, f"{fallbacks:.0f} of {alerts} fell back"),
    )


async def backlog(folder: Path, *, bound: int) -> CaseResult:
    """Row 36: COC is down until the backlog is full; repeats and oks are still accepted; then it drains."""
    async with sandbox() as coc:
        await coc.fail({"status": 503})
        async with process(write_config(folder, coc.port, f"limits: {{backlog: {bound}}}\n")) as service:
            ledger, refused, number = Ledger(), 0, 0

            async def send(*alerts: dict[str, Any]) -> int:
                ledger.sent(alerts)
                status, _ = await post(f"{service.url}/webhook", webhook(*alerts))
                if status == 200:
                    ledger.acknowledged(alerts)
                return status

            while await send(nth_state(f"B{number}", 1)) == 200:
                number += 1
            answered = Counter([await send(nth_state("More", 1)) for _ in range(10)])
            refused = answered[503]
            repeats = [await send(nth_state(f"B{n}", 1)) for n in range(10)]
            reserve = bound // 10
            oks = [await send(nth_state(f"B{n}", 2)) for n in range(reserve + 1)]
            await coc.fail()
            liveness = await _taken_again(send)
            scrape = await drained(service.url)
            verdict = examine(ledger, steps_at(coc))
    return case_result(
        {
            "bound": bound,
            "taken": number,
            "refused by 503": refused,
            "oks taken beyond it": oks.count(200),
            "lost": verdict.lost,
        },
        verdict.violations(),
        liveness,
        law(scrape),
        unless(number == bound and refused == 10, f"{number} taken, {dict(answered)}"),
        unless(repeats == [200] * 10, f"repeats are answered {repeats}"),
        unless(oks == [200] * reserve + [503], f"oks are answered {Counter(oks)}"),
    )


async def _taken_again(send: Any) -> str:
    end = time.monotonic() + 10
    while await send(nth_state("Fresh", 1)) != 200:
        if time.monotonic() > end:
            return "L: still refused 10 s after COC is back"
        await asyncio.sleep(0.1)
    return ""
