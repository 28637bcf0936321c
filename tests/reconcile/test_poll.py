"""How members are reached: prefixes, names with several addresses, credentials, TLS; and that nothing is followed."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from adapter.clock import SECOND, SystemClock
from adapter.reconcile.cluster import Cluster, Rules
from adapter.reconcile.member import PIECE
from adapter.reconcile.poll import Poll, Poller
from adapter.reconcile.snapshot import Result
from adapter.secret import Secret
from tests.reconcile.test_snapshot import an_element
from tests.stage import free_port
from tests.tls import Authority

RULES = Rules(grace=600 * SECOND, settle=0, adopt_after=0, refresh_interval=0)


class Plain:
    """A member in plain words: it answers a status and what it is given."""

    def __init__(self) -> None:
        self.alerts: list[Any] = [an_element()]
        self.since = "2020-01-01T00:00:00.000Z"
        self.peers = 0
        self.requests: list[web.Request] = []
        self.answer: Callable[[web.Request], Awaitable[web.Response]] | None = None

    async def handle(self, request: web.Request) -> web.Response:
        self.requests.append(request)
        if self.answer is not None:
            return await self.answer(request)
        if request.path.endswith("/status"):
            return web.json_response(
                {
                    "uptime": self.since,
                    "versionInfo": {"version": "0.34.0"},
                    "cluster": {"status": "ready" if self.peers else "disabled", "peers": [{}] * self.peers},
                    "config": {"original": "x"},
                }
            )
        return web.json_response(self.alerts)


@asynccontextmanager
async def member(host: str = "127.0.0.1", port: int = 0, ssl_context: Any = None) -> AsyncIterator[tuple[Plain, str]]:
    plain = Plain()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", plain.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, host, port, ssl_context=ssl_context).start()
    scheme = "https" if ssl_context else "http"
    try:
        yield plain, f"{scheme}://{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def cluster(*members: str, **changes: Any) -> Cluster:
    fields = {"name": "main", "members": members, "integrations": ("default",), "rules": RULES, "timeout": 2.0}
    return Cluster(**(fields | changes))


async def polled(of: Cluster, *receivers: str) -> Poll:
    async with Poller(of, SystemClock()) as poller:
        return await poller.poll(receivers)


async def test_a_prefix_is_kept_and_receivers_are_quoted() -> None:
    async with member() as (plain, url):
        poll = await polled(cluster(f"{url}/prefix"), "team.coc", "a|b")
    assert poll.result is Result.VALID
    assert [request.path for request in plain.requests] == ["/prefix/api/v2/status", "/prefix/api/v2/alerts"]
    assert plain.requests[1].query["receiver"] == r"team\.coc|a\|b"


async def test_without_receivers_everything_is_asked_for_and_the_watchdog_whatever_its_receiver() -> None:
    async with member() as (plain, url):
        await polled(cluster(url, watchdog={"alertname": "Watchdog"}))
        assert [dict(request.query) for request in plain.requests[1:]] == [{}, {"filter": 'alertname="Watchdog"'}]
        plain.alerts = []
        assert (await polled(cluster(url, watchdog={"alertname": "Watchdog"}))).result is Result.NO_WATCHDOG


async def test_every_address_of_a_name_is_a_member() -> None:
    port = free_port()
    async with member("127.0.0.1", port) as (first, _), member("::1", port) as (second, _):
        first.peers = second.peers = 2
        poll = await polled(cluster(dns=f"http://localhost:{port}"))
    hosts = {report.address for report in poll.reports}
    assert hosts <= {f"http://127.0.0.1:{port}", f"http://[::1]:{port}"}
    assert poll.result is (Result.VALID if len(hosts) == 2 else Result.INCOMPLETE)


async def test_a_name_without_an_address_is_unreachable() -> None:
    poll = await polled(cluster(dns="http://nowhere.invalid:9093"))
    assert poll.result is Result.UNREACHABLE
    assert "nowhere.invalid cannot be resolved" in poll.reports[0].error


@pytest.mark.parametrize(
    ("changes", "header"),
    [
        ({"username": "u", "password": Secret(value="p:w")}, "Basic dTpwOnc="),
        ({"scheme": "Bearer", "credentials": Secret(value="t0ken")}, "Bearer t0ken"),
        ({"headers": {"Authorization": "Custom x"}}, "Custom x"),
    ],
)
async def test_credentials_are_sent_with_every_question(changes: dict[str, Any], header: str) -> None:
    async with member() as (plain, url):
        await polled(cluster(url, **changes))
    assert [request.headers["Authorization"] for request in plain.requests] == [header] * 2


async def test_a_rotated_secret_is_used_at_the_next_poll(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one")
    of = cluster(scheme="Bearer", credentials=Secret(path=file))
    async with member() as (plain, url), Poller(replace(of, members=(url,)), SystemClock()) as poller:
        await poller.poll(())
        file.write_text("two")
        await poller.poll(())
    assert plain.requests[-1].headers["Authorization"] == "Bearer two"


async def test_a_certificate_is_verified_against_server_name(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    pair = authority.issue("server", names=["am.example"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.cert, pair.key)
    async with member(ssl_context=context) as (_, url):
        trusted = cluster(url, ca_file=authority.cert, server_name="am.example")
        assert (await polled(trusted)).result is Result.VALID
        for wrong in (replace(trusted, server_name="other.example"), replace(trusted, ca_file=None)):
            poll = await polled(wrong)
            assert poll.result is Result.UNREACHABLE
            assert "certificate" in poll.reports[0].error


async def test_a_redirect_is_not_followed() -> None:
    async with member() as (plain, url), member() as (other, elsewhere):

        async def redirect(request: web.Request) -> web.Response:
            return web.Response(status=302, headers={"Location": elsewhere})

        plain.answer = redirect
        poll = await polled(cluster(url))
    assert (poll.result, poll.reports[0].error) == (Result.REFUSED, "it answers 302 at /api/v2/status")
    assert other.requests == []


async def test_link_local_addresses_are_refused_after_the_name_is_resolved_too() -> None:
    poll = await polled(cluster("http://169.254.169.254"))
    assert poll.result is Result.UNREACHABLE
    assert "link-local" in poll.reports[0].error


async def test_a_busy_member_is_asked_a_second_time_and_that_wait_is_not_its_own() -> None:
    async with member() as (plain, url):
        right, answers = plain.handle, iter([503, 200])

        async def busy(request: web.Request) -> web.Response:
            status = next(answers, 200)
            plain.answer = None
            response = await right(request)
            plain.answer = busy
            return web.Response(status=503) if status == 503 else response

        plain.answer = busy
        poll = await polled(cluster(url))
    assert poll.result is Result.VALID
    assert poll.seconds < 0.9


async def test_another_process_at_the_same_address_is_no_evidence() -> None:
    async with member() as (plain, url), Poller(cluster(url), SystemClock()) as poller:
        results = [(await poller.poll(())).result]
        plain.since = datetime(2021, 1, 1, tzinfo=UTC).isoformat()
        results += [(await poller.poll(())).result for _ in range(2)]
    assert results == [Result.VALID, Result.RELOADED, Result.VALID]


async def test_a_large_answer_leaves_the_event_loop_to_others() -> None:
    async with member() as (plain, url):
        text = json.dumps([an_element(f"a{number}", annotations={"summary": "x" * 400}) for number in range(10_000)])

        async def large(request: web.Request) -> web.Response:
            plain.answer = None
            response = await plain.handle(request)
            plain.answer = large
            return response if request.path.endswith("status") else web.Response(text=text)

        plain.answer = large
        turns, done = 0, asyncio.Event()

        async def others() -> None:
            nonlocal turns
            while not done.is_set():
                await asyncio.sleep(0)
                turns += 1

        task = asyncio.create_task(others())
        poll = await polled(cluster(url))
        done.set()
        await task
    assert len(poll.listed) == 10_000
    assert turns > 2 * len(text) // PIECE
