"""What runs: deliveries, listeners and periodic looks over parts that `app` has built; and whether it does so well."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from adapter.admin.api import AdminApi
from adapter.alarm import Kind
from adapter.clock import Clock
from adapter.coc.client import CocClient
from adapter.config.load import Config
from adapter.delivery.pipeline import Delivery, Purse
from adapter.errors import StoreUnavailable
from adapter.intake.webhook import WebhookHandler, is_webhook
from adapter.logs import event
from adapter.mapping.render.live import LiveMappings
from adapter.metrics import Metrics
from adapter.reload import Reloader
from adapter.server.access import Access
from adapter.server.listener import listen
from adapter.server.management import Management, reload_route
from adapter.store.contract import SharedStore, Store

RELOAD_SECONDS = 5.0
LOOK_SECONDS = 5.0  # between looks at the backlog
MAINTAIN_SECONDS = 60.0
LAG_SECONDS = 1.0
DRAIN_SECONDS = 20.0
READY_SECONDS = 1.0  # how long an answer about readiness holds
PROBE_SECONDS = 2.0  # how long the store may take to commit before that is told; the chart's probe waits for 3
OPEN_PATHS = frozenset({"/-/healthy", "/-/ready"})

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The flags of `serve`."""

    config_file: Path
    listen_address: str = "127.0.0.1:9876"
    admin_address: str = "127.0.0.1:9877"
    web_config_file: Path | None = None
    allow_unauthenticated: bool = False
    log_level: str = "info"


class Service:
    """Everything that runs, made by `running`."""

    def __init__(self, config: Config, options: Options, clock: Clock, store: Store, metrics: Metrics) -> None:
        self.config, self.options, self.clock = config, options, clock
        self.store, self.metrics = store, metrics
        self.deliveries: dict[str, Delivery] = {}
        self.clients: dict[str, CocClient] = {}
        self.ports: tuple[int, ...] = ()
        self.draining = False
        self.mappings: LiveMappings
        self.reloader: Reloader
        self.door: WebhookHandler
        self._tasks: list[asyncio.Task[None]] = []
        self._ready_seen: tuple[float, str | None] = (-READY_SECONDS, None)
        self._probing: asyncio.Task[str | None] | None = None

    def drain(self) -> None:
        """Not ready, and no webhook is taken from now on; what is in flight goes on."""
        self.draining = True
        self.door.close()

    async def open_deliveries(self, stack: AsyncExitStack) -> None:
        pauses = await self.store.pauses()
        for name, integration in self.config.integrations.items():
            client = self.clients[name] = CocClient(integration.endpoint, self.clock)
            await client.open()
            stack.push_async_callback(client.close)
            delivery = self.deliveries[name] = Delivery(
                name,
                store=self.store,
                renderer=self.mappings,
                reporter=client,
                contract=integration.contract,
                clock=self.clock,
                jitter=random.random,
                watcher=self.metrics,
                max_in_flight=integration.endpoint.max_in_flight,
                rate_limit=integration.rate_limit,
                purse=self._purse(name, integration.rate_limit),
            )
            delivery.observe_pause(pauses.get(name))
            self._start(delivery.run(), f"delivery {name}", stack)
        stack.push_async_callback(self._stop_deliveries)

    def _purse(self, name: str, rate: float) -> Purse | None:
        """Replicas share one rate; whoever is alone keeps to it by itself."""
        store = self.store
        if rate <= 0 or not isinstance(store, SharedStore):
            return None
        return lambda want: store.spend(name, rate, want)

    async def open_loops(self, stack: AsyncExitStack) -> None:
        for seconds, action in (
            (RELOAD_SECONDS, self.reloader.poll),
            (LOOK_SECONDS, self.look),
            (MAINTAIN_SECONDS, self._maintain),
            (LAG_SECONDS, self._watch_lag),
        ):
            self._start(self._forever(seconds, action), action.__name__.strip("_"), stack)

    async def open_listeners(self, accesses: tuple[Access, Access], stack: AsyncExitStack) -> None:
        options, limits = self.options, self.config.webhook
        management = Management(
            registry=self.metrics.registry,
            healthy=self.unhealthy,
            ready=self.unready,
            integrations=lambda: list(self.config.integrations),
        )
        webhook = [*self.door.routes(), *management.routes()]
        admin = [*AdminApi(self).routes(), reload_route(self.reloader.reload), *management.routes()]
        addresses = (options.listen_address, options.admin_address)
        for address, access, routes in zip(addresses, accesses, (webhook, admin), strict=True):
            door = access.middleware(open_paths=OPEN_PATHS, bearer_paths=is_webhook, admin=routes is admin)
            doors = [door] if routes is admin else [self.door.counting(), door]
            app = web.Application(middlewares=doors, client_max_size=limits.max_body)
            app.add_routes(routes)
            listener = await listen(
                app,
                address,
                access.ssl_context(),
                header_seconds=limits.header_timeout,
                max_connections=limits.max_connections,
                drain_seconds=DRAIN_SECONDS,
                clock=self.clock,
            )
            stack.push_async_callback(listener.close)
            self.ports = (*self.ports, listener.port)
            scheme = "https" if access.ssl_context() else "http"
            event(logger, logging.INFO, "listening", address=address, port=listener.port, scheme=scheme)

    async def replay(self, seqs: Sequence[int], *, as_sent: bool) -> dict[int, tuple[Kind, ...]]:
        """Owe dead letters again; the kinds enqueued, by seq. Seqs that are no dead letters are left out."""
        letters = {}
        for seq in seqs:
            for row in await self.store.dead_letters(None, seq - 1, 1):
                letters[row.report.seq] = row.report.integration
        # Nothing may come between the commit and its count: not another step, whose figures are newer, nor a failure.
        replayed = await self.store.replay(seqs, as_sent=as_sent)
        for seq, kinds in replayed.items():
            name = letters[seq]
            self.metrics.replayed(name, kinds)
            if name in self.deliveries:
                self.deliveries[name].wake()
        return replayed

    def unhealthy(self) -> str | None:
        """A delivery that ended by itself is a defect that only a restart mends."""
        dead = [task.get_name() for task in self._tasks if task.done() and not self.draining]
        return f"not running: {', '.join(dead)}" if dead else None

    async def unready(self) -> str | None:
        """None while webhooks can be accepted, else why not."""
        if self.draining:
            return "shutting down"
        if self.clock.monotonic() - self._ready_seen[0] < READY_SECONDS:
            return self._ready_seen[1]
        if self._probing is None or self._probing.done():
            self._probing = asyncio.create_task(self._probe(), name="probe")
        await asyncio.wait((self._probing,), timeout=PROBE_SECONDS)
        if not self._probing.done():
            return f"the store has not committed for {PROBE_SECONDS:g} s"
        self._ready_seen = (self.clock.monotonic(), self._probing.result())
        return self._ready_seen[1]

    async def _probe(self) -> str | None:
        """Why the store cannot commit. A probe that hangs is not asked again, but waited for."""
        try:
            await self.store.probe()
        except StoreUnavailable as exc:
            return f"the store cannot commit: {exc}".splitlines()[0]
        return None

    def _start(self, work: Coroutine[None, None, None], name: str, stack: AsyncExitStack) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.append(task)
        stack.push_async_callback(cancelled, task)

    async def _stop_deliveries(self) -> None:
        """All at once, so that many integrations with a hanging COC take no longer than one."""
        integrations = self.config.integrations
        await asyncio.gather(
            *(
                delivery.stop(min(integrations[name].endpoint.timeout, DRAIN_SECONDS))
                for name, delivery in self.deliveries.items()
            )
        )

    async def _forever(self, seconds: float, action: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self.clock.sleep(seconds)
            try:
                await action()
            except StoreUnavailable as exc:
                event(logger, logging.WARNING, "store unavailable", error=exc)
            except Exception:
                logger.exception("%s", "a periodic task failed; this is a defect of the adapter")

    async def look(self) -> None:
        """Tell metrics how the store stands, other replicas how we do, and deliveries what others have paused."""
        if isinstance(self.store, SharedStore):
            await self.store.heartbeat(self.mappings.revision)
        counts, size = await self.store.counts(), await self.store.size()
        told = self.store.describe()
        self.metrics.backlog(counts, self.clock.now(), shared=bool(told.get("shared")))
        self.metrics.store_size(size, told.get("free_bytes"))
        self.metrics.store_warned(len(told["warnings"]))
        asked = self.clock.monotonic()
        pauses = await self.store.pauses()
        for name, delivery in self.deliveries.items():
            delivery.seen_pause(pauses.get(name), asked)

    async def _maintain(self) -> None:
        await self.store.maintain(self.clock.now(), self.config.retention)

    async def _watch_lag(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + 0.05
        await asyncio.sleep(0.05)
        self.metrics.loop_lagged(loop.time() - due)


async def cancelled(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait until it has ended."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
