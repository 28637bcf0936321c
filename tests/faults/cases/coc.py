"""Rows 11 to 14, 17, 19 and 38: faults of COC and of the network to it, against a real process."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from adapter.clock import SystemClock
from adapter.coc.client import CocClient
from adapter.coc.endpoint import Endpoint
from adapter.coc.verdict import Action
from adapter.secret import Secret
from tests.coc.servers import SUCCESS, Request, answer, scripted_server
from tests.faults.chaos import alive, law, nth_state, poster, process, steps_at
from tests.faults.oracle import Ledger, Step, examine
from tests.faults.result import CaseResult, case_result, quantile, unless
from tests.flow.attacks import peak_memory
from tests.stage import KEY, adapter, drained, fetch, post, sandbox, until, values, webhook, write_config

MIB = 2**20


async def send(url: str, ledger: Ledger, *alerts: dict[str, Any]) -> None:
    """Post a webhook that must be acknowledged."""
    ledger.sent(alerts)
    status, text = await post(f"{url}/webhook", webhook(*alerts))
    assert status == 200, text
    ledger.acknowledged(alerts)


async def slow(folder: Path, *, seconds: float, limit: float) -> CaseResult:
    """Row 11: COC takes 30 s, then never answers; acknowledgements stay quick. `limit`: p99 in seconds."""
    p99: dict[str, float] = {}
    async with sandbox() as coc, aiohttp.ClientSession() as session:
        config = write_config(folder, coc.port)
        async with process(config) as service:
            ledger = Ledger()
            number = 0
            for state, faults in (("up", []), ("30 s slow", [{"delay": 30.0}]), ("silent", [{"delay": 3600.0}])):
                await coc.fail(*faults)
                times: list[float] = []
                post_body = poster(session, service.url, times)
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    number += 1
                    alerts = [nth_state(f"S{n}", number) for n in range(10)]
                    ledger.sent(alerts)
                    assert await post_body(webhook(*alerts)) == 200
                    ledger.acknowledged(alerts)
                    await asyncio.sleep(0.05)
                p99[state] = quantile(times, 0.99)
            await coc.fail()
            liveness = await alive(service.url, coc, ledger, seconds=10.0)  # the last silent request has 5 s to end
            await drained(service.url, 120)
            scrape = await fetch(f"{service.url}/metrics")
        verdict = examine(ledger, steps_at(coc))
        timeouts = values(scrape, "coc_adapter_coc_requests_total", reason="timeout")
    figures = {f"ms p99 with COC {state}": round(value * 1000, 1) for state, value in p99.items()}
    over = [state for state, value in p99.items() if value > limit]
    return case_result(
        figures | {"lost": verdict.lost, "duplicates": verdict.duplicates},
        verdict.violations(int(timeouts)),
        liveness,
        unless(not over, f"acknowledgements over {limit * 1000:.0f} ms while COC is {over}"),
    )


async def resets(folder: Path, *, reports: int) -> CaseResult:
    """Row 12: a fifth of the connections is reset: half before COC has the report, half after it without an answer."""
    faults = [{"reset": how, "share": 0.1} for how in ("before", "after")]
    async with sandbox() as coc, process(write_config(folder, coc.port)) as service:
        ledger = Ledger()
        await coc.fail(*faults)
        turns = 4
        for turn in range(1, turns + 1):
            for start in range(0, reports // turns, 50):
                await send(service.url, ledger, *(nth_state(f"T{start + n}", turn) for n in range(50)))
        await drained(service.url, 300)
        await coc.fail()
        liveness = await alive(service.url, coc, ledger)
        scrape = await drained(service.url)
        verdict = examine(ledger, steps_at(coc))
    lost = values(scrape, "coc_adapter_coc_requests_total", reason="connection_lost")
    figures = {
        "reports": verdict.owed,
        "requests without an answer": round(lost),
        "duplicates": verdict.duplicates,
        "lost": verdict.lost,
        "reordered": verdict.reordered,
    }
    return case_result(figures, verdict.violations(int(lost)), liveness, law(scrape))


async def broken_answers(folder: Path, *, each: int, endless: int = 64) -> CaseResult:
    """Row 13: incomplete answers, wrong lengths, and endless answers of up to `endless` MiB each."""
    arrived: list[Step] = []
    turn, good = 0, False

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal turn
        turn += 1
        body = json.loads(request.body)
        if good:
            arrived.append(Step(body["alarmId"], body["alarmStatus"], body["time"]))
            writer.write(answer())
            return
        kind = turn % 4
        if kind == 0:
            writer.write(answer()[:60])
        elif kind == 1:
            writer.write(answer(length=len(SUCCESS) + 500))
        elif kind == 2:
            writer.write(answer(length=10))
        else:
            writer.write(b"HTTP/1.1 200 X\r\n\r\n")
            for _ in range(endless):
                writer.write(b"x" * MIB)
                await writer.drain()
        writer.close()

    async with scripted_server(script) as server, adapter(write_config(folder, server.port)) as service:
        ledger = Ledger()
        await send(service.url, ledger, nth_state("Warm", 1))
        before = peak_memory(service.process.pid)
        for number in range(each):
            await send(service.url, ledger, *(nth_state(f"H{number}x{n}", 1) for n in range(4)))
            await asyncio.sleep(0.3)
        scrape = await fetch(f"{service.url}/metrics")
        delivered = values(scrape, "coc_adapter_reports_total", outcome="delivered")
        grown = (peak_memory(service.process.pid) - before) / MIB
        good = True
        await drained(service.url)
        verdict = examine(ledger, arrived)
    return case_result(
        {
            "broken answers": turn - len(arrived),
            "of them taken as a success": round(delivered),
            "MiB grown": round(grown),
        },
        verdict.violations(),
        unless(delivered == 0, f"{delivered:.0f} counted as delivered"),
        unless(grown < 40, f"grown by {grown:.0f} MiB"),
    )


ODD_ANSWERS: Mapping[str, dict[str, Any]] = {
    "HTML 200": {"html": True},
    "HTML 502": {"html": True, "status": 502},
    "empty 200": {"body": ""},
    "204": {"status": 204, "body": ""},
    "a list": {"body": "[]"},
    "another JSON": {"body": '{"ok": true}'},
    "success code as a part": {"body": '{"data": {"error_code": "COC.00000000"}}'},
    "success code with 201": {"status": 201, "body": SUCCESS.decode()},
    "unknown code": {"body": '{"error_code": "X.1"}'},
}


async def odd_answers(folder: Path, *, each: int) -> CaseResult:
    """Row 14: answers that are no success, each for some requests; and a 200 with one of COC's error codes."""
    wrong = []
    async with sandbox() as coc, process(write_config(folder, coc.port)) as service:
        ledger, before = Ledger(), 0.0
        for number, (name, fault) in enumerate(ODD_ANSWERS.items()):
            await coc.fail(fault)
            await send(service.url, ledger, *(nth_state(f"O{number}x{n}", 1) for n in range(each)))
            await _three_requests(service.url)
            scrape = await fetch(f"{service.url}/metrics")
            delivered = values(scrape, "coc_adapter_reports_total", outcome="delivered")
            dead = values(scrape, "coc_adapter_reports_total", outcome="dead")
            wrong += [
                unless(delivered == before and dead == 0, f"{name}: {delivered - before:.0f} delivered, {dead} dead")
            ]
            await coc.fail()
            before = values(await drained(service.url), "coc_adapter_reports_total", outcome="delivered")
        liveness = await alive(service.url, coc, ledger)
        await drained(service.url)
        verdict = examine(ledger, steps_at(coc))
        alerts = [nth_state("Coded", 1)]
        await coc.fail({"body": '{"error_code": "COC.00040001", "error_msg": "no"}'})
        await send(service.url, Ledger(), *alerts)
        scrape = await drained(service.url)
        coded = values(scrape, "coc_adapter_reports_total", outcome="dead")
    return case_result(
        {"kinds": len(ODD_ANSWERS), "falsely delivered": sum(bool(line) for line in wrong), "lost": verdict.lost},
        wrong,
        verdict.violations(),
        liveness,
        law(scrape),
        unless(coded == 1, "a 200 with COC's error code is no dead letter"),
    )


async def _three_requests(url: str) -> None:
    """Wait until COC has answered three more requests."""

    async def requests() -> float:
        return values(await fetch(f"{url}/metrics"), "coc_adapter_coc_requests_total")

    first, end = await requests(), time.monotonic() + 20
    while await requests() < first + 3:
        assert time.monotonic() < end, "no more requests to COC"
        await asyncio.sleep(0.05)


async def rotated_key(folder: Path, *, alarms: int, paused: float) -> CaseResult:
    """Row 17: COC refuses the integration key; the new key is written into its file `paused` seconds later."""
    secret = folder / "key"
    secret.write_text("0" * 32)
    async with sandbox() as coc:
        config = write_config(folder, coc.port)
        config.write_text(config.read_text().replace(f'integration_key: "{KEY}"', f"integration_key_file: {secret}"))
        async with process(config) as service:
            ledger = Ledger()
            await send(service.url, ledger, *(nth_state(f"K{n}", 1) for n in range(alarms)))
            await asyncio.sleep(paused)
            calls = values(await fetch(f"{service.url}/metrics"), "coc_adapter_coc_requests_total")
            accepted = coc.count
            secret.write_text(KEY)
            began = time.monotonic()
            await until(lambda: coc.count, "the first report after the change", 30)
            resumed = time.monotonic() - began
            liveness = await alive(service.url, coc, ledger)
            scrape = await drained(service.url)
            verdict = examine(ledger, steps_at(coc))
    limit = 32 + 2 + paused / 60  # requests in flight at the first refusal, and a probe a minute
    return case_result(
        {"alarms": alarms, "requests refused": round(calls), "s to resume": round(resumed, 1), "lost": verdict.lost},
        verdict.violations(),
        liveness,
        law(scrape),
        unless(accepted == 0 and calls <= limit, f"{calls:.0f} requests while paused"),
        unless(resumed < 15, "not resumed within 15 s"),
    )


async def name_service(folder: Path, *, rounds: int) -> CaseResult:
    """Row 19: COC's name does not resolve, then resolves to a dead address, then to a live one.

    Only the event loop's getaddrinfo is replaced.
    """
    loop = asyncio.get_running_loop()
    real, address = loop.getaddrinfo, {"now": "none"}

    async def resolve(host: str, port: Any, **hints: Any) -> Any:
        if host != "coc.example":
            return await real(host, port, **hints)
        if address["now"] == "none":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return await real(address["now"], port, **hints)

    loop.getaddrinfo = resolve  # type: ignore[method-assign, assignment]
    wrong, resumed = [], []
    try:
        async with sandbox() as coc:
            for _ in range(rounds):
                endpoint = Endpoint(
                    base_url=f"http://coc.example:{coc.port}", integration_key=Secret(value=KEY), timeout=2.0
                )
                client = CocClient(endpoint, SystemClock())
                try:
                    for host, action in (("none", Action.RETRY), ("127.0.0.9", Action.RETRY), ("127.0.0.1", None)):
                        address["now"] = host
                        began = time.monotonic()
                        verdict = await _verdict(client.report, action)
                        if action is None:
                            resumed.append(time.monotonic() - began)
                        wrong += [unless(verdict.action is (action or Action.ACCEPTED), f"{host}: {verdict.reason}")]
                finally:
                    await client.close()
    finally:
        loop.getaddrinfo = real  # type: ignore[method-assign]
    return case_result({"rounds": rounds, "s until a new address is used": round(max(resumed), 2)}, wrong)


async def _verdict(report: Callable[[bytes], Awaitable[Any]], action: Action | None) -> Any:
    """The verdict of one report; without an expected `action`, of the first accepted one within 15 s."""
    body = {
        "alarmId": "a1", "alarmName": "A", "alarmLevel": "Minor", "time": 1, "nameSpace": "n", "alarmDesc": "d",
        "applicationId": "x", "alarmStatus": "alarm", "alarmSource": "prometheus",
    }  # fmt: skip
    end = time.monotonic() + 15
    while True:
        verdict = await report(json.dumps(body).encode())
        if action is not None or verdict.action is Action.ACCEPTED or time.monotonic() > end:
            return verdict
        await asyncio.sleep(0.2)


async def canary(folder: Path, *, rounds: int = 1) -> CaseResult:
    """Row 38: send the key and text that breaks log lines through every failure; then search all output for them."""
    nasty = "line\n2026-01-01 level=error msg=forged \x1b[31mred\x1b[0m\r\n"
    hits: list[str] = []
    async with sandbox() as coc:
        for number in range(rounds):
            place = folder / str(number)
            place.mkdir()
            async with adapter(write_config(place, coc.port), "--log.level=debug") as service:
                for failure, fault in enumerate(_FAILURES):
                    await coc.fail(fault)
                    evil = nth_state(f"Canary{failure}", 1)
                    evil["labels"]["pod"], evil["annotations"]["summary"] = nasty, nasty
                    await post(f"{service.url}/webhook", webhook(evil, receiver=nasty))
                    await asyncio.sleep(0.3)
                await coc.fail()
                pages = [await fetch(f"{service.url}{path}") for path in ("/", "/metrics")]
                pages += [await fetch(f"{service.admin_url}/api/v1/{path}") for path in _LISTS]
                await service.terminate()
                log = service.log_text
            hits += [
                unless(KEY not in text, f"the key stands after: {text[max(0, text.find(KEY) - 80) : text.find(KEY)]}")
                for text in (*pages, log)
            ]
            forged = [line for line in log.splitlines() if line.startswith("2026-01-01 ") or "\x1b" in line]
            hits.append(unless(not forged, f"a log line was forged: {forged[:1]}"))
    return case_result({"places searched": len(hits), "hits": sum(bool(hit) for hit in hits)}, hits)


_FAILURES: tuple[dict[str, Any], ...] = (
    {"status": 503}, {"html": True}, {"reset": "after"}, {"status": 400, "message": KEY}, {"status": 401},
)  # fmt: skip
_LISTS = ("alarms", "dead-letters", "integrations", "rejects", "status")
