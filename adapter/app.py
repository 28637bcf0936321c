"""The composition root: builds every part once from a Config, joins them, and takes them down in the opposite order."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from adapter import logs, mapping
from adapter.clock import Clock, SystemClock
from adapter.config.load import Config, load_config
from adapter.errors import AdapterError, ConfigError, Finding, MappingError
from adapter.intake.webhook import WebhookHandler
from adapter.logs import event
from adapter.mapping.render.live import LiveMappings
from adapter.metrics import Metrics
from adapter.reload import Reloader
from adapter.server.access import Access, may_listen
from adapter.service import Options, Service
from adapter.store import open_store
from adapter.store.contract import Store

SWITCH_SECONDS = 0.001  # how long a thread that computes keeps the event loop from the interpreter

logger = logging.getLogger(__name__)


@asynccontextmanager
async def running(config: Config, options: Options, clock: Clock | None = None) -> AsyncIterator[Service]:
    """Start every part, and take them down in the opposite order. AdapterError or OSError when one cannot start."""
    clock = clock or SystemClock()
    metrics = Metrics(list(config.integrations), clock=clock)
    async with AsyncExitStack() as stack:
        main = Access(options.web_config_file, bearer=config.bearer, clock=clock, on_refusal=metrics.access_refused)
        stack.callback(main.close)
        admin = Access(options.web_config_file, bearer=None, clock=clock, on_refusal=metrics.access_refused)
        stack.callback(admin.close)
        for address, access in ((options.listen_address, main), (options.admin_address, admin)):
            if complaint := may_listen(address, access, options.allow_unauthenticated):
                raise AdapterError(complaint)
        store = await _open_store(config, clock, metrics)
        stack.push_async_callback(store.close)
        service = Service(config, options, clock, store, metrics)
        service.mappings, findings = await _open_mappings(config)
        stack.push_async_callback(service.mappings.close)
        await service.open_deliveries(stack)
        service.reloader = Reloader(
            config,
            mappings=service.mappings,
            accesses=(main, admin),
            deliveries=[(delivery, service.clients[name]) for name, delivery in service.deliveries.items()],
            metrics=metrics,
            clock=clock,
            log_level=options.log_level,
            findings=findings,
        )
        service.door = WebhookHandler(
            config,
            store=store,
            clock=clock,
            metrics=metrics,
            revision=lambda: service.mappings.revision,
            owed=lambda name: service.deliveries[name].wake(),
        )
        await service.look()
        await service.open_loops(stack)
        await service.open_listeners((main, admin), stack)
        try:
            yield service
        finally:
            service.drain()


async def _open_store(config: Config, clock: Clock, metrics: Metrics) -> Store:
    store = await open_store(
        config.store.get(),
        backlog=config.backlog,
        clock=clock,
        on_commit=metrics.committed,
        max_bytes=config.store_size or None,
        lease=2 * max(item.endpoint.timeout for item in config.integrations.values()) + 5,
    )
    told = store.describe()
    metrics.store_opened(told["backend"])
    metrics.limited(config.backlog)
    for name, counts in (await store.counts()).items():
        metrics.carried(name, counts, shared=bool(told.get("shared")))
    return store


async def _open_mappings(config: Config) -> tuple[LiveMappings, Sequence[Finding]]:
    """The configured mappings; the shipped ones while those are broken, since an alert must not wait for a typo."""
    try:
        mappings = await LiveMappings.open(config.mappings)
        for finding in mappings.findings:
            event(logger, logging.ERROR, "a template falls back from the start", finding=finding)
        return mappings, mappings.findings
    except MappingError as exc:
        for finding in exc.findings:
            event(logger, logging.ERROR, "mapping refused, the shipped ones serve instead", finding=finding)
        return await LiveMappings.open(mapping.shipped(), watch=config.mappings), exc.findings


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
        _rarely_collect()
        sys.setswitchinterval(SWITCH_SECONDS)
        hangups: set[asyncio.Task[None]] = set()

        def hang_up() -> None:
            hangups.add(task := asyncio.ensure_future(_reload(service)))
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


def _rarely_collect() -> None:
    """What the start made stays; a full collection over a large webhook's records would hold the event loop up."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    gc.enable()


async def _reload(service: Service) -> None:
    try:
        with suppress(ConfigError, MappingError):  # said by the reloader
            await service.reloader.reload()
    except Exception:
        logger.exception("%s", "a reload failed; this is a defect of the adapter")


def _exit() -> None:
    """At once: a thread that hangs on a dying disk would hold up anything more polite. Nothing committed is lost."""
    os._exit(1)
