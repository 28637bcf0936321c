"""What is no evidence closes nothing: members that are down, slow, wrong, young, or that differ."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from aiohttp import web

from tests.flow.monitoring import Alertmanager, alertmanager
from tests.reconcile.stage import POLLS, World, front, labels, named, routed_to, serving, settings, silence, world
from tests.stage import free_port, repeating, sandbox


@asynccontextmanager
async def repeated(sender: Alertmanager, *names: str) -> AsyncIterator[None]:
    """Post alerts again and again, as Prometheus does."""

    async def once() -> None:
        for name in names:
            await sender.post(labels(name), summary=f"{name} happened")

    async with repeating(0.1, once):
        yield


WRONG = [
    ("html", "status", "invalid", POLLS + 1),
    ("html", "alerts", "invalid", POLLS + 1),
    ("half", "alerts", "invalid", POLLS + 1),
    ("401", "status", "refused", POLLS + 1),
    ("302", "alerts", "refused", POLLS + 1),
    ("503", "alerts", "refused", 2),  # each is asked twice, a second apart
    ("slow", "alerts", "unreachable", POLLS + 1),
    ("endless", "alerts", "too_large", POLLS + 1),
]


async def test_a_member_that_answers_wrongly_is_no_evidence(tmp_path: Path) -> None:
    """Two members, of which one is right: what it lacks is not gone while the other cannot say."""
    sender_port, port = free_port(), free_port()
    url = f"http://127.0.0.1:{sender_port}"
    async with (
        front(url, version="") as between,
        sandbox() as coc,
        named(tmp_path, routed_to(f"http://127.0.0.1:{port}/webhook"), sender_port) as sender,
        serving(
            tmp_path, coc, settings(between.url, url, external_urls=[url], timeout="300ms", max_body="1MiB"), port
        ) as service,
    ):
        here = World(coc, service, sender)
        await here.fires("DiskFull")
        async with silence(url, "DiskFull"):
            await here.state_is("suppressed", 1)
            between.fault, between.only = WRONG[0][:2]
            await here.polls(1, WRONG[0][2])
            await here.resolve("DiskFull")
            for fault, path, result, polls in WRONG:
                between.fault, between.only = fault, path
                await here.polls(polls, result)
                assert [row.result for row in here.view.members] == [result, "valid"]
                assert here.view.members[0].error
            assert here.states("DiskFull") == ["alarm"]
            assert await here.metric("reconcile_acts_total") == 0
            between.fault = ""
            await here.becomes("DiskFull", "alarm", "ok")


async def test_a_member_that_is_down_closes_nothing_however_long(tmp_path: Path) -> None:
    down = f"http://127.0.0.1:{free_port()}"
    async with world(tmp_path, also=[down]) as here:
        await here.fires("DiskFull")
        async with silence(here.alertmanager.url, "DiskFull"):
            await here.resolve("DiskFull")
            await here.polls(result="unreachable")
            assert here.states("DiskFull") == ["alarm"]
            assert here.view.members[1].error.startswith("cannot connect")


async def test_a_restart_after_which_the_sender_repeats_closes_nothing(tmp_path: Path) -> None:
    """Alertmanager keeps alerts in memory alone: it answers an empty list until it has heard of them again."""
    async with restarting(tmp_path, settle="1s") as (here, start):
        async with start() as sender:
            await sender.post(labels("DiskFull"), summary="x")
            await here.becomes("DiskFull", "alarm")
            await here.polls(2)
        async with start() as sender:
            await here.polls(2, "settling")
            async with repeated(sender, "DiskFull"):
                await here.polls()
        assert here.states("DiskFull") == ["alarm"]
        assert await here.metric("reconcile_acts_total") == 0


async def test_a_restart_after_which_nobody_repeats_closes_nothing_where_a_watchdog_is_set(tmp_path: Path) -> None:
    async with restarting(tmp_path, watchdog={"alertname": "Watchdog"}) as (here, start):
        async with start() as sender:
            await sender.post({"alertname": "Watchdog"})
            await sender.post(labels("DiskFull"), summary="x")
            await here.becomes("DiskFull", "alarm")
            await here.polls(2)
        async with start():
            await here.polls(result="no_watchdog")
            assert here.states("DiskFull") == ["alarm"]


@asynccontextmanager
async def restarting(
    folder: Path, **changes: object
) -> AsyncIterator[tuple[World, Callable[[], AbstractAsyncContextManager[Alertmanager]]]]:
    """An adapter that runs on while its Alertmanager is stopped and started by the function beside it."""
    sender_port, port = free_port(), free_port()
    url = f"http://127.0.0.1:{sender_port}"
    config = routed_to(f"http://127.0.0.1:{port}/webhook")

    def start() -> AbstractAsyncContextManager[Alertmanager]:
        return named(folder, config, sender_port)

    async with sandbox() as coc, serving(folder, coc, settings(url, **changes), port) as service:
        yield World(coc, service, None), start


@asynccontextmanager
async def pair(folder: Path, ports: tuple[int, ...], adapter: int, which: int) -> AsyncIterator[Alertmanager]:
    """One of two Alertmanagers that know each other; `ports`: two for questions, two for gossip."""
    gossip = [f"127.0.0.1:{port}" for port in ports[2:]]
    flags = (
        f"--cluster.listen-address={gossip[which]}",
        f"--cluster.peer={gossip[1 - which]}",
        "--cluster.settle-timeout=1s",
        "--cluster.gossip-interval=50ms",
        "--cluster.pushpull-interval=500ms",
    )
    own = folder / str(which)
    own.mkdir(exist_ok=True)
    config = routed_to(f"http://127.0.0.1:{adapter}/webhook")
    async with alertmanager(own, config, ports[which], *flags) as member:
        yield member


async def test_a_rolling_restart_of_two_members_closes_nothing_nor_does_an_alert_that_one_of_them_lacks(
    tmp_path: Path,
) -> None:
    ports, adapter = tuple(free_port() for _ in range(4)), free_port()
    members = [f"http://127.0.0.1:{port}" for port in ports[:2]]
    changes = {"settle": "2s", "external_urls": ["http://" + socket.gethostname() + f":{port}" for port in ports[:2]]}
    async with sandbox() as coc, serving(tmp_path, coc, settings(*members, **changes), adapter) as service:
        here = World(coc, service, None)
        async with pair(tmp_path, ports, adapter, 0) as first:
            async with pair(tmp_path, ports, adapter, 1) as second, repeated(second, "Both"), repeated(first, "Both"):
                await first.post(labels("OnlyAtFirst"), summary="x")
                await here.becomes("OnlyAtFirst", "alarm")
                await here.polls()
                assert [row.alerts for row in here.view.members] == [2, 1]
            await here.polls(POLLS, "unreachable")
            async with pair(tmp_path, ports, adapter, 1) as second, repeated(second, "Both"), repeated(first, "Both"):
                await here.polls()
        assert (here.states("Both"), here.states("OnlyAtFirst")) == (["alarm"], ["alarm"])
        assert await here.metric("reconcile_acts_total") == 0
        assert await here.metric("reconcile_polls_total", result="settling") > 0


async def test_a_member_that_is_not_named_makes_the_cluster_incomplete(tmp_path: Path) -> None:
    ports, adapter = tuple(free_port() for _ in range(4)), free_port()
    async with sandbox() as coc, serving(tmp_path, coc, settings(f"http://127.0.0.1:{ports[0]}"), adapter) as service:
        here = World(coc, service, None)
        async with pair(tmp_path, ports, adapter, 0), pair(tmp_path, ports, adapter, 1):
            await here.polls(2, "incomplete")
            assert here.view.members[0].error == "its cluster has 2 members, 1 were asked"
            assert not here.view.valid_at


async def test_polls_that_lack_an_alarm_count_only_in_a_row(tmp_path: Path) -> None:
    """Each third poll is no evidence, so three in a row never come together."""
    sender_port, port = free_port(), free_port()
    url = f"http://127.0.0.1:{sender_port}"
    async with (
        front(url, version="") as between,
        sandbox() as coc,
        named(tmp_path, routed_to(f"http://127.0.0.1:{port}/webhook"), sender_port) as sender,
        serving(tmp_path, coc, settings(between.url, external_urls=[url]), port) as service,
    ):
        here, polls = World(coc, service, sender), 0

        async def spoil(request: web.Request) -> None:
            nonlocal polls
            polls += request.path.endswith("/status")
            between.fault = "html" if polls % POLLS == 0 else ""

        await here.fires("DiskFull")
        between.hook = spoil
        async with silence(url, "DiskFull"):
            await here.polls(1, "invalid")
            await here.resolve("DiskFull")
            await here.polls(4 * POLLS)
            assert here.states("DiskFull") == ["alarm"]
            between.hook, between.fault = None, ""
            await here.becomes("DiskFull", "alarm", "ok")
