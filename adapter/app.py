"""The composition root: builds every part once from a Config, joins them, and stops them in the opposite order."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Middleware

from adapter import logs, mapping
from adapter.admin.api import AdminApi
from adapter.alarm import Kind
from adapter.clock import Clock, SystemClock
from adapter.coc.client import CocClient
from adapter.config.load import Config, load_config
from adapter.delivery.pipeline import Delivery
from adapter.errors import AdapterError, ConfigError, StoreUnavailable
from adapter.intake.webhook import WebhookHandler, is_webhook
from adapter.logs import event
from adapter.mapping.render.live import LiveMappings
from adapter.metrics import Metrics
from adapter.reload import Reloader
from adapter.server.access import Access
from adapter.server.address import may_listen
from adapter.server.listener import listen
from adapter.server.management import Management, Readiness, reload_route
from adapter.store import open_store
from adapter.store.contract import SharedStore, Store

RELOAD_SECONDS = 5.0
REFRESH_SECONDS = 5.0  # between looks at the backlog
MAINTAIN_SECONDS = 60.0
LAG_SECONDS = 1.0
DRAIN_SECONDS = 20.0
SWITCH_SECONDS = 0.001  # how long a thread that computes keeps the event loop from the interpreter
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A running adapter, as its owner sees it."""

    store: Store
    mappings: LiveMappings
    reloader: Reloader
    ports: tuple[int, int]  # of the main and the admin listener
    drain: Callable[[], None]  # not ready and no new webhook from now on; requests in flight go on


@asynccontextmanager
async def running(config: Config, options: Options, clock: Clock | None = None) -> AsyncIterator[Service]:
    """Start every part, and stop them in the opposite order. AdapterError or OSError when one cannot start."""
    clock = clock or SystemClock()
    metrics = Metrics(list(config.integrations), clock=clock)
    tasks = Tasks(clock)
    async with AsyncExitStack() as stack:
        accesses = _open_accesses(config, options, clock, metrics, stack)
        store = await _open_store(config, clock, metrics)
        stack.push_async_callback(store.close)
        mappings = await _open_mappings(config)
        stack.push_async_callback(mappings.close)
        clients = await _open_clients(config, clock, stack)
        deliveries = await _start_deliveries(config, clock, store, mappings, clients, metrics, tasks, stack)
        reloader = Reloader(
            config,
            mappings=mappings,
            accesses=accesses,
            deliveries=[(delivery, clients[name]) for name, delivery in deliveries.items()],
            metrics=metrics,
            clock=clock,
            log_level=options.log_level,
        )
        handler = WebhookHandler(
            config,
            store=store,
            clock=clock,
            metrics=metrics,
            revision=lambda: mappings.revision,
            owed=lambda name: deliveries[name].wake(),
        )
        readiness = Readiness(store.probe, clock)
        upkeep = Upkeep(config, clock, store, mappings, deliveries, metrics)
        await upkeep.refresh()
        for seconds, action in (
            (RELOAD_SECONDS, reloader.poll),
            (REFRESH_SECONDS, upkeep.refresh),
            (MAINTAIN_SECONDS, upkeep.maintain),
            (LAG_SECONDS, upkeep.measure_lag),
        ):
            tasks.start(tasks.repeat(seconds, action), action.__name__, stack)

        def drain() -> None:
            tasks.stopping = True
            readiness.draining = True
            handler.close()

        def owe_again(name: str, kinds: Sequence[Kind]) -> None:
            metrics.replayed(name, kinds)
            if name in deliveries:
                deliveries[name].wake()

        default = config.integration(None)
        api = AdminApi(
            store=store,
            clock=clock,
            integrations=deliveries,
            contracts={name: item.contract for name, item in config.integrations.items()},
            default_integration=default.name if default else None,
            mappings=mappings,
            mappings_folder=str(config.mappings),
            config=config.shown,
            reloads=reloader,
            not_ready=readiness.problem,
            replayed=owe_again,
        )
        management = Management(
            registry=metrics.registry,
            healthy=tasks.problem,
            ready=readiness.problem,
            integrations=lambda: list(config.integrations),
        )
        webhooks = [*handler.routes(), *management.routes()]
        administration = [*api.routes(), reload_route(reloader.reload), *management.routes()]
        main, admin = accesses
        ports = (
            await _listen(options.listen_address, main, webhooks, config, clock, stack, outermost=handler.counting()),
            await _listen(options.admin_address, admin, administration, config, clock, stack),
        )
        try:
            yield Service(store=store, mappings=mappings, reloader=reloader, ports=ports, drain=drain)
        finally:
            drain()


def _open_accesses(
    config: Config, options: Options, clock: Clock, metrics: Metrics, stack: AsyncExitStack
) -> tuple[Access, Access]:
    """The access rules of the main and the admin listener; AdapterError where an address needs credentials."""
    main = Access(options.web_config_file, bearer=config.bearer, clock=clock, on_refusal=metrics.access_refused)
    stack.callback(main.close)
    admin = Access(options.web_config_file, bearer=None, clock=clock, on_refusal=metrics.access_refused)
    stack.callback(admin.close)
    for address, access in ((options.listen_address, main), (options.admin_address, admin)):
        if problem := may_listen(address, access, options.allow_unauthenticated):
            raise AdapterError(problem)
    return main, admin


async def _open_store(config: Config, clock: Clock, metrics: Metrics) -> Store:
    store = await open_store(
        config.store.get(),
        backlog=config.backlog,
        clock=clock,
        on_commit=metrics.committed,
        max_bytes=config.store_size or None,
        lease=2 * max(item.endpoint.timeout for item in config.integrations.values()) + 5,
    )
    description = store.describe()
    metrics.store_opened(description["backend"])
    metrics.limited(config.backlog)
    for name, counts in (await store.counts()).items():
        metrics.carried(name, counts, shared=bool(description.get("shared")))
    return store


async def _open_mappings(config: Config) -> LiveMappings:
    """The configured mappings; the shipped ones while those are broken, so that no alert waits for a typo."""
    mappings = await LiveMappings.open(config.mappings, instead=mapping.shipped())
    what = "mapping refused, the shipped ones serve instead" if mappings.refused else "a template failed its trial"
    for finding in mappings.findings:
        event(logger, logging.ERROR, what, finding=finding)
    return mappings


async def _open_clients(config: Config, clock: Clock, stack: AsyncExitStack) -> dict[str, CocClient]:
    clients = {}
    for name, integration in config.integrations.items():
        client = clients[name] = CocClient(integration.endpoint, clock)
        await client.open()
        stack.push_async_callback(client.close)
    return clients


async def _start_deliveries(
    config: Config,
    clock: Clock,
    store: Store,
    mappings: LiveMappings,
    clients: Mapping[str, CocClient],
    metrics: Metrics,
    tasks: Tasks,
    stack: AsyncExitStack,
) -> dict[str, Delivery]:
    """One running Delivery an integration; all of them stop together, in one grace period."""
    deliveries = {}
    asked = clock.monotonic()
    pauses, replicas = await store.pauses(), await _live_replicas(store, mappings)
    for name, integration in config.integrations.items():
        delivery = deliveries[name] = Delivery(
            name,
            store=store,
            renderer=mappings,
            reporter=clients[name],
            contract=integration.contract,
            clock=clock,
            jitter=random.random,
            observer=metrics,
            max_in_flight=integration.endpoint.max_in_flight,
            rate_limit=integration.rate_limit / replicas,
        )
        delivery.observe_pause(pauses.get(name), asked)
        tasks.start(delivery.run(), f"delivery {name}", stack)

    async def stop() -> None:
        await asyncio.gather(*(delivery.stop(DRAIN_SECONDS) for delivery in deliveries.values()))

    stack.push_async_callback(stop)
    return deliveries


async def _live_replicas(store: Store, mappings: LiveMappings) -> int:
    """How many replicas share the store; each sends an equal part of an integration's rate limit."""
    return await store.heartbeat(mappings.revision) if isinstance(store, SharedStore) else 1


async def _listen(
    address: str,
    access: Access,
    routes: Sequence[web.RouteDef],
    config: Config,
    clock: Clock,
    stack: AsyncExitStack,
    *,
    outermost: Middleware | None = None,
) -> int:
    """Serve the routes behind the access rules; the port. `outermost` is set for the webhook listener."""
    limits = config.webhook
    rules = access.middleware(open_paths=OPEN_PATHS, bearer_paths=is_webhook, admin=outermost is None)
    app = web.Application(middlewares=[outermost, rules] if outermost else [rules], client_max_size=limits.max_body)
    app.add_routes(routes)
    listener = await listen(
        app,
        address,
        access.ssl_context,
        header_seconds=limits.header_timeout,
        max_connections=limits.max_connections,
        drain_seconds=DRAIN_SECONDS,
        clock=clock,
    )
    stack.push_async_callback(listener.close)
    scheme = "https" if access.ssl_context() else "http"
    event(logger, logging.INFO, "listening", address=address, port=listener.port, scheme=scheme)
    return listener.port


class Tasks:
    """The background tasks. One that ends by itself is a bug that only a restart cures."""

    def __init__(self, clock: Clock) -> None:
        self.stopping = False
        self._clock = clock
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, work: Coroutine[None, None, None], name: str, stack: AsyncExitStack) -> None:
        """Run it until `stack` closes."""
        task = asyncio.create_task(work, name=name)
        self._tasks.append(task)
        stack.push_async_callback(_cancelled, task)

    async def repeat(self, seconds: float, action: Callable[[], Awaitable[None]]) -> None:
        """Call the action every `seconds`; what it raises is logged."""
        while True:
            await self._clock.sleep(seconds)
            try:
                await action()
            except StoreUnavailable as exc:
                event(logger, logging.WARNING, "store unavailable", error=exc)
            except Exception:
                logger.exception("%s", "a periodic task failed (a bug in the adapter)")

    def problem(self) -> str | None:
        """None while every task runs, else which do not."""
        ended = [task.get_name() for task in self._tasks if task.done() and not self.stopping]
        return f"not running: {', '.join(ended)}" if ended else None


async def _cancelled(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait until it has ended."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What is done every few seconds, beside intake and delivery."""

    config: Config
    clock: Clock
    store: Store
    mappings: LiveMappings
    deliveries: Mapping[str, Delivery]
    metrics: Metrics

    async def refresh(self) -> None:
        """Write this replica's heartbeat; bring gauges, rate shares and pauses set by other replicas up to date."""
        replicas = await _live_replicas(self.store, self.mappings)
        for name, delivery in self.deliveries.items():
            delivery.set_rate(self.config.integrations[name].rate_limit / replicas)
        counts, size = await self.store.counts(), await self.store.size()
        description = self.store.describe()
        self.metrics.backlog(counts, self.clock.now(), shared=bool(description.get("shared")))
        self.metrics.store_size(size, description.get("free_bytes"))
        self.metrics.store_warned(len(description["warnings"]))
        asked = self.clock.monotonic()
        pauses = await self.store.pauses()
        for name, delivery in self.deliveries.items():
            delivery.observe_pause(pauses.get(name), asked)

    async def maintain(self) -> None:
        await self.store.maintain(self.clock.now(), self.config.retention)

    async def measure_lag(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + 0.05
        await asyncio.sleep(0.05)
        self.metrics.loop_lagged(loop.time() - due)


async def serve(options: Options) -> int:
    """`coc-adapter serve`: until SIGTERM or SIGINT. Returns the exit code; a second signal ends it at once."""
    config = load_config(options.config_file)
    if config.log_level:
        logs.set_level(config.log_level)
    for secret in config.secrets:
        logs.register_secret(secret)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: _exit() if stop.is_set() else stop.set())
    async with running(config, options) as service:
        _collect_rarely()
        sys.setswitchinterval(SWITCH_SECONDS)
        hangups: set[asyncio.Task[None]] = set()

        def hang_up() -> None:
            hangups.add(task := asyncio.ensure_future(_reload(service.reloader)))
            task.add_done_callback(hangups.discard)

        loop.add_signal_handler(signal.SIGHUP, hang_up)
        store = service.store.describe()
        event(logger, logging.INFO, "ready", mapping_revision=service.mappings.revision, store=store["backend"])
        for warning in store.get("warnings", ()):
            event(logger, logging.WARNING, "store", warning=warning)
        await stop.wait()
        event(logger, logging.INFO, "stopping")
        service.drain()
    event(logger, logging.INFO, "stopped")
    return 0


def _collect_rarely() -> None:
    """Exempt what the start built from collection: a full one would hold the event loop up."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    gc.enable()


async def _reload(reloader: Reloader) -> None:
    try:
        with suppress(ConfigError):  # the reloader has logged the findings
            await reloader.reload()
    except Exception:
        logger.exception("%s", "a reload failed (a bug in the adapter)")


def _exit() -> None:
    """At once: a thread that hangs on a dying disk would hold up anything more polite. Nothing committed is lost."""
    os._exit(1)
