"""The composition root: builds every part once from a Config, joins them, and stops them in the opposite order."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware

from adapter import logs, mapping
from adapter.admin.api import AdminApi, routes
from adapter.admin.openapi import Operation
from adapter.alarm import Kind
from adapter.application import Lookup
from adapter.applications import Applications
from adapter.clock import SECOND, Clock, SystemClock
from adapter.coc.applications import ApplicationsClient
from adapter.coc.client import CocClient
from adapter.config import Config, load_config
from adapter.console.console import Around, Console
from adapter.delivery.pipeline import Delivery
from adapter.errors import AdapterError, ConfigError
from adapter.history import STEP_SECONDS
from adapter.intake.accept import Acceptor
from adapter.intake.trouble import Trouble
from adapter.intake.webhook import WebhookHandler, is_webhook
from adapter.logs import event
from adapter.mapping.draft.process import DraftProcess
from adapter.mapping.render.live import MEMORY, LiveMappings, LookedUp
from adapter.memory import Room, own_limit
from adapter.metrics import Metrics
from adapter.reconcile.reconciling import Reconciling
from adapter.reload import Reloader
from adapter.server.access import Access
from adapter.server.address import may_listen
from adapter.server.body import InFlight
from adapter.server.listener import listen, most_connections
from adapter.server.management import Readiness, links_route, management_routes, reload_route
from adapter.store import open_store
from adapter.store.backlog import Backlog, Waiting
from adapter.store.contract import SharedStore, Store
from adapter.store.moving import orphans
from adapter.store.pruning import PruningTime
from adapter.store.views import Counts, Removed
from adapter.tasks import Tasks

RELOAD_SECONDS = 5.0
REFRESH_SECONDS = 5.0  # between refreshes of the gauges, rates and pauses
MAINTAIN_SECONDS = 60.0
LAG_SECONDS = 1.0
UNSEEN = 86_400 * SECOND
DRAIN_SECONDS = 20.0
SWITCH_SECONDS = 0.0002  # how long a thread that computes keeps the event loop from the interpreter

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The flags of `serve`."""

    config_file: Path
    listen_address: str = "127.0.0.1:9876"
    admin_address: str = "127.0.0.1:9877"
    web_config_file: Path | None = None
    external_url: str = ""
    allow_unauthenticated: bool = False
    log_level: str = "info"


@asynccontextmanager
async def running(config: Config, options: Options, clock: Clock | None = None) -> AsyncIterator[Service]:
    """Start every part, and stop them in the opposite order. AdapterError or OSError when one cannot start."""
    clock = clock or SystemClock()
    clusters = config.clusters
    metrics = Metrics(config.integrations, clock=clock, alertmanagers=[cluster.name for cluster in clusters])
    trouble = Trouble()
    async with AsyncExitStack() as stack:
        access = _open_access(config, options, clock, metrics)
        store = await _open_store(config, clock, metrics, stack)
        applications: dict[str, Applications] = {}

        def looked_up(name: str, lookups: Sequence[Lookup]) -> None:
            metrics.looked_up(name, lookups)
            if name in applications:
                applications[name].looked_up(lookups)

        mappings = await _open_mappings(config, looked_up, stack)
        drafts = DraftProcess(mappings)
        stack.push_async_callback(drafts.close)
        applications |= await _open_applications(config, clock, store, mappings, metrics)
        reporting = _deliveries(config, clock, store, mappings, metrics, stack)
        deliveries = {delivery.name: delivery for delivery, _ in reporting}
        reloader = Reloader(
            config, store=store, mappings=mappings, access=access, deliveries=reporting, metrics=metrics,
            log_level=options.log_level, clock=clock,
        )  # fmt: skip
        room = Room()
        acceptor = Acceptor(
            store, clock=clock, metrics=metrics, policy=config.relay.policy(),
            revision=lambda: _revision(store, mappings), owed=lambda name: deliveries[name].wake(),
            reporting=lambda name: _reporting(store, deliveries[name]),
            max_alerts=config.webhook.max_alerts, trouble=trouble, room=room,
        )  # fmt: skip
        limits, readiness = config.webhook, Readiness(store.probe, clock)
        in_flight = InFlight(max_requests=limits.max_in_flight, max_bytes=limits.max_in_flight_bytes, check=room.check)
        handler = WebhookHandler(
            acceptor, clock=clock, metrics=metrics, integration=config.integration,
            in_flight=in_flight, max_body=limits.max_body, body_seconds=limits.body_timeout, met=readiness.intake_met,
            trouble=trouble,
        )  # fmt: skip
        tasks = Tasks(clock)
        stack.push_async_callback(tasks.stop)
        reconciling = Reconciling(
            clusters, metrics.reconcile_states, store=store, clock=clock, observer=metrics, trouble=trouble,
            policy=config.relay.policy(), revision=lambda: _revision(store, mappings),
            owed=lambda name: deliveries[name].wake(), reporting=lambda name: _reporting(store, deliveries[name]),
            not_ready=readiness.problem,
        )  # fmt: skip
        service = Service(
            config, clock, metrics, store, mappings, drafts, deliveries, applications, reloader, handler, readiness,
            PruningTime(clock), reconciling, trouble, tasks,
        )  # fmt: skip
        await service.refresh()
        stack.push_async_callback(service.stop_deliveries)
        for delivery in deliveries.values():
            tasks.start(delivery.run(), f"delivery {delivery.name}")
        for name, one in applications.items():
            tasks.repeat(one.tick_seconds, one.tick, name=f"applications {name}", at_once=True)
        for name, loop in reconciling.loops.items():
            tasks.start(loop.run(), f"reconcile {name}")
        tasks.repeat(RELOAD_SECONDS, reloader.poll)
        tasks.repeat(REFRESH_SECONDS, service.refresh)
        tasks.repeat(MAINTAIN_SECONDS, service.maintain)
        tasks.repeat(LAG_SECONDS, service.measure_lag)
        tasks.repeat(STEP_SECONDS, service.sample)
        service.ports = await _listen(service, options, access, stack)
        try:
            yield service
        finally:
            service.drain()


@dataclass(slots=True)
class Service:
    """A running adapter."""

    config: Config
    clock: Clock
    metrics: Metrics
    store: Store
    mappings: LiveMappings
    drafts: DraftProcess
    deliveries: Mapping[str, Delivery]
    applications: Mapping[str, Applications]  # of the integrations that have credentials to ask COC with
    reloader: Reloader
    handler: WebhookHandler
    readiness: Readiness
    pruning_time: PruningTime
    reconciling: Reconciling
    trouble: Trouble
    tasks: Tasks
    orphans: Mapping[str, Counts] = field(default_factory=dict)  # by integration
    ports: tuple[int, ...] = ()  # of the main and the admin listener

    def drain(self) -> None:
        """Not ready, and no new webhook from now on; requests in flight go on."""
        self.tasks.stopping = True
        self.readiness.draining = True
        self.handler.close()

    async def stop_deliveries(self) -> None:
        """All of them within one grace period."""
        await asyncio.gather(*(delivery.stop(DRAIN_SECONDS) for delivery in self.deliveries.values()))

    async def refresh(self) -> None:
        """Write this replica's heartbeat; bring gauges, rate shares and pauses set by other replicas up to date."""
        silent = [name for name, delivery in self.deliveries.items() if not delivery.reporting]
        # A replica for which a COC is silent decides nothing: those with other mappings would wait for it in vain.
        revision = "" if silent else self.mappings.revision
        replicas = await self.store.heartbeat(revision, silent) if isinstance(self.store, SharedStore) else 1
        for name, delivery in self.deliveries.items():
            delivery.set_rate(self.config.integrations[name].rate_limit / replicas)
        counts, size = await self.store.counts(), await self.store.size()
        description = self.store.describe()
        self.metrics.backlog(counts, self._shares(counts), shared=bool(description.get("shared")))
        self._report_orphans(orphans(counts, self.deliveries))
        self.metrics.store_size(size, description.get("free_bytes"), len(description["warnings"]))
        asked = self.clock.monotonic()
        pauses = await self.store.pauses()
        for name, delivery in self.deliveries.items():
            delivery.observe_pause(pauses.get(name), asked)

    def _shares(self, counts: Mapping[str, Counts]) -> dict[str, int]:
        backlog = Backlog(self.config.limits.backlog, frozenset(self.deliveries))
        waiting = {name: Waiting(count.pending, count.refreshing) for name, count in counts.items()}
        return {name: backlog.share(name, waiting) for name in self.deliveries}

    def _report_orphans(self, found: Mapping[str, Counts]) -> None:
        for name in found.keys() - self.orphans.keys():
            message = "the store holds what an integration left that is not in adapter.yml; move or discard it"
            event(logger, logging.WARNING, message, integration=name, **_held(found[name]))
        self.orphans = found
        self.metrics.orphans(found)

    async def maintain(self) -> None:
        now = self.pruning_time.now()
        if self.pruning_time.jumped:
            message = "the wall clock has jumped ahead; pruning goes by it once it has held for an hour"
            event(logger, logging.WARNING, message, seconds=self.pruning_time.jumped // SECOND)
        pruned = await self.store.maintain(now, self.config.retention.retention())
        self.metrics.unseen(await self.store.unseen(self.clock.now() - UNSEEN))
        if any(pruned):
            event(logger, logging.INFO, "pruned", **pruned._asdict())

    async def sample(self) -> None:
        self.metrics.history.sample(self.clock.now())

    async def measure_lag(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + 0.05
        await asyncio.sleep(0.05)
        self.metrics.loop_lagged(loop.time() - due)

    def replayed(self, integration: str, kinds: Sequence[Kind]) -> None:
        """Count dead letters that were enqueued again, and wake their delivery."""
        self.metrics.replayed(integration, kinds)
        if integration in self.deliveries:
            self.deliveries[integration].wake()

    def removed(self, integration: str, to: str | None, removed: Removed) -> None:
        """Count what was discarded of an orphan, or moved, and wake the delivery of the integration that takes over."""
        self.metrics.removed(integration, to, removed)
        if to is not None:
            self.deliveries[to].wake()


def _revision(store: Store, mappings: LiveMappings) -> str:
    """By which an alert is news: that of the mappings in force, or a newer one of another replica."""
    return store.deciding(mappings.revision) if isinstance(store, SharedStore) else mappings.revision


def _reporting(store: Store, delivery: Delivery) -> bool:
    """Whether refreshes may be owed: reporting is not paused, and COC answers this replica, or the others."""
    return delivery.reporting and not (isinstance(store, SharedStore) and store.silent(delivery.name))


def _held(counts: Counts) -> dict[str, int]:
    return {"pending": counts.pending, "open_alarms": counts.open_alarms, "dead_letters": counts.dead}


def _open_access(config: Config, options: Options, clock: Clock, metrics: Metrics) -> Access:
    """AdapterError where an address needs credentials and nothing asks for them."""
    bearer = config.webhook.secret("bearer_token")
    access = Access(
        options.web_config_file, bearer=bearer, clock=clock, on_refusal=metrics.access_refused,
        external_host=urlsplit(options.external_url).hostname or "",
    )  # fmt: skip
    for address, authenticated in (
        (options.listen_address, access.authenticated or bearer is not None),
        (options.admin_address, access.authenticated),
    ):
        if problem := may_listen(
            address, authenticated=authenticated, allow_unauthenticated=options.allow_unauthenticated
        ):
            raise AdapterError(problem)
    return access


async def _open_store(config: Config, clock: Clock, metrics: Metrics, stack: AsyncExitStack) -> Store:
    store = await open_store(
        config.store_url.get(),
        backlog=config.limits.backlog,
        integrations=config.integrations,
        clock=clock,
        on_commit=metrics.committed,
        max_bytes=config.limits.store_size or None,
        reread=config.store_url.reread,
        lease=2 * max(item.timeout for item in config.integrations.values()) + 5,
    )
    stack.push_async_callback(store.close)
    description = store.describe()
    metrics.store_opened(description["backend"], config.limits.backlog)
    for name, counts in (await store.counts()).items():
        metrics.carried(name, counts, shared=bool(description.get("shared")))
    return store


async def _open_mappings(config: Config, looked_up: LookedUp, stack: AsyncExitStack) -> LiveMappings:
    """The configured mappings; the shipped ones while those are broken, so that no alert waits for a typo."""
    limit = own_limit()
    if limit is not None and limit < MEMORY:
        message = "memory is limited here (ulimit -v); the rendering process gets less than it should"
        event(logger, logging.WARNING, message, limit_mib=limit >> 20, wanted_mib=MEMORY >> 20)
    mappings = await LiveMappings.open(config.mappings, instead=mapping.shipped(), looked_up=looked_up)
    stack.push_async_callback(mappings.close)
    what = "mapping refused, the shipped ones serve instead" if mappings.refused else "a template failed its trial"
    for finding in mappings.findings:
        if finding.severity == "warning":
            event(logger, logging.WARNING, "mapping warning", finding=finding)
        else:
            event(logger, logging.ERROR, what, finding=finding)
    return mappings


async def _open_applications(
    config: Config, clock: Clock, store: Store, mappings: LiveMappings, metrics: Metrics
) -> dict[str, Applications]:
    """One for each integration with credentials, with what the store has of it; none where the directory is off."""
    interval, shared = config.applications.refresh_interval, isinstance(store, SharedStore)
    endpoints = {name: integration.endpoint for name, integration in config.integrations.items()}
    opened = {
        name: Applications(
            name, ApplicationsClient(endpoint, clock), store=store, mappings=mappings, metrics=metrics, clock=clock,
            jitter=random.random, interval=interval, shared=shared,
        )
        for name, endpoint in endpoints.items()
        if endpoint.auth is not None and interval > 0
    }  # fmt: skip
    for applications in opened.values():
        await applications.load()
    return opened


def _deliveries(
    config: Config, clock: Clock, store: Store, mappings: LiveMappings, metrics: Metrics, stack: AsyncExitStack
) -> list[tuple[Delivery, CocClient]]:
    """One for each integration; `refresh` sets their rates and pauses before they run."""
    reporting = []
    for name, integration in config.integrations.items():
        client = CocClient(integration.endpoint, clock)
        stack.push_async_callback(client.close)
        delivery = Delivery(
            name,
            store=store,
            renderer=mappings,
            reporter=client,
            contract=integration.contract(config.relay),
            clock=clock,
            jitter=random.random,
            observer=metrics,
            max_in_flight=integration.max_in_flight,
        )
        reporting.append((delivery, client))
    return reporting


async def _listen(service: Service, options: Options, access: Access, stack: AsyncExitStack) -> tuple[int, ...]:
    """Open the main and the admin listener; their ports."""
    config = service.config
    management = management_routes(
        registry=service.metrics.registry,
        healthy=service.tasks.problem,
        ready=service.readiness.problem,
    )
    links = links_route(config.integrations)
    operations = _admin_api(service).operations()
    connections = most_connections(config.webhook.max_connections, listeners=2)
    webhooks = [*service.handler.routes(), *management, links]
    administration = [*routes(operations), reload_route(service.reloader.reload), *management]
    ports: list[int] = []
    administration += (
        _console(config, service.clock, operations, lambda: ports[0]) if config.console.enabled else [links]
    )

    async def serve(
        address: str,
        routes: list[web.RouteDef],
        middlewares: list[Middleware],
        on_malformed_post: Callable[[str], None],
    ) -> int:
        app = web.Application(middlewares=middlewares, client_max_size=config.webhook.max_body)
        app.add_routes(routes)
        listener = await listen(
            app,
            address,
            access.ssl_context,
            header_seconds=config.webhook.header_timeout,
            max_connections=connections,
            drain_seconds=DRAIN_SECONDS,
            on_malformed_post=on_malformed_post,
        )
        stack.push_async_callback(listener.close)
        scheme = "https" if access.ssl_context() else "http"
        event(logger, logging.INFO, "listening", address=address, port=listener.port, scheme=scheme)
        return listener.port

    main = access.middleware(admin=False, bearer_paths=is_webhook)
    admin = access.middleware(admin=True, bearer_paths=lambda path: False)
    counting = service.handler.counting()
    ports.append(await serve(options.listen_address, webhooks, [counting, main], service.handler.malformed))
    ports.append(await serve(options.admin_address, administration, [admin], lambda source: None))
    return tuple(ports)


def _console(
    config: Config, clock: Clock, operations: Sequence[Operation], webhook_port: Callable[[], int]
) -> list[web.RouteDef]:
    around = Around(
        clock=clock, webhook_port=webhook_port, reconciles=bool(config.clusters), read_only=config.console.read_only
    )
    return Console(operations, around).routes()


def _admin_api(service: Service) -> AdminApi:
    config = service.config
    return AdminApi(
        store=service.store,
        clock=service.clock,
        started=service.clock.now(),
        integrations=service.deliveries,
        applications=service.applications,
        contracts={name: item.contract(config.relay) for name, item in config.integrations.items()},
        per_episode=config.relay.policy().id_per_episode,
        default_integration=config.integration(None),
        mappings=service.mappings,
        drafts=service.drafts,
        mappings_folder=str(config.mappings),
        config=config.source.shown,
        findings=lambda: service.reloader.findings,
        restart_needed=lambda: service.reloader.restart_needed,
        serving_since=lambda: service.reloader.serving_since,
        not_ready=service.readiness.problem,
        replayed=service.replayed,
        removed=service.removed,
        reconciling=service.reconciling,
        webhooks=service.trouble.met,
        history=service.metrics.history,
    )


async def serve(options: Options) -> int:
    """`coc-adapter serve`: until SIGTERM or SIGINT. Returns the exit code; a second signal ends it at once."""
    config = load_config(options.config_file)
    if config.log.level:
        logs.set_level(config.log.level)
    for secret in config.source.secrets:
        logs.register_secret(secret)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: _exit() if stop.is_set() else stop.set())
    async with running(config, options) as service:
        _collect_rarely()
        sys.setswitchinterval(SWITCH_SECONDS)
        hangup = asyncio.Event()

        async def reload() -> None:
            await hangup.wait()
            hangup.clear()
            with suppress(ConfigError):  # the reloader has logged the findings
                await service.reloader.reload()

        service.tasks.repeat(0.0, reload)
        loop.add_signal_handler(signal.SIGHUP, hangup.set)
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
    """Exempt what the start built from collection: without this the event loop stalls for 150 ms, not 30 (medians).

    The second generation is all of the old objects, the first a hundred thousand at most, which takes some 10 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 500)


def _exit() -> None:
    """At once: a thread that hangs on a dying disk would hold up anything more polite. Nothing committed is lost."""
    os._exit(1)
