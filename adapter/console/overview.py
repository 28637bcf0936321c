"""Overview: is anybody missing a page? The worst first, then every integration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from adapter.console import charts, shown
from adapter.console.forms import Done
from adapter.console.language import Language
from adapter.console.visit import Visit

LATE_SECONDS: Final = 60.0  # the age of a report from which on pages may be late


class Trouble(NamedTuple):
    """Something wrong, in words, and where to look."""

    text: str
    link: str
    detail: str = ""


class Rates(NamedTuple):
    """Of one integration in the last hour, by the minute."""

    received: list[float]
    delivered: list[float]
    p95: float | None  # seconds, of the last step with an answer


async def load(visit: Visit) -> Mapping[str, Any]:
    status = (await visit.ask("GET /api/v1/status")).content
    history = (await visit.ask("GET /api/v1/history")).content
    clusters = (await visit.ask("GET /api/v1/reconcile")).content.alertmanagers if visit.reconciles else []
    known = (await visit.ask("GET /api/v1/alarms", query={"limit": ["1"]})).content
    host = urlsplit(f"//{visit.host}").hostname or "127.0.0.1"
    scheme = "https" if visit.secure else "http"
    return {
        "status": status,
        "troubles": list(worst(status, clusters, visit.now, visit.language)),
        "clusters": clusters,
        "errors": [finding for finding in status.mapping.findings if finding.severity == "error"],
        "rates": {name: _rates(series, history.step_seconds) for name, series in history.series.items()},
        "hour": list(_hour(history, visit.language)),
        "since": history.since,
        "first_run": not known,
        "webhook_url": f"{scheme}://{f'[{host}]' if ':' in host else host}:{visit.webhook_port}/webhook",
    }


def _rates(series: Mapping[str, Sequence[float | None]], step_seconds: int) -> Rates:
    answered = [value for value in series["p95"] if value is not None]
    received, delivered = (charts.by_minute(series[name], step_seconds) for name in ("received", "delivered"))
    return Rates(received, delivered, answered[-1] if answered else None)


def _hour(history: Any, _: Language) -> Iterator[tuple[str, list[float]]]:
    """What all integrations did together, by the minute, with its name."""
    names = {
        "received": _("received"),
        "delivered": _("delivered"),
        "waiting": _("waiting"),
        "fell_back": _("fell back"),
        "refused": _("refused"),
    }
    for name, text in names.items():
        highest = name == "waiting"
        each = [charts.by_minute(one[name], history.step_seconds, highest=highest) for one in history.series.values()]
        yield text, [sum(values) for values in zip(*each, strict=False)]


def worst(status: Any, clusters: Sequence[Any], now: datetime, _: Language) -> Iterator[Trouble]:
    """What is wrong, the worst first."""
    if not status.ready:
        yield Trouble(_("Webhooks are not accepted"), "/ui/status", status.not_ready_because or "")
    for warning in status.store.get("warnings", ()):
        yield Trouble(_("The store warns"), "/ui/status", str(warning))
    rows = status.integrations
    yield from _silent(rows, now, _)
    dead = sum(row.dead_letters for row in rows)
    if dead:
        yield Trouble(_("COC has refused {count} reports for good", count=dead), "/ui/dead-letters")
    errors = [finding for finding in status.mapping.findings if finding.severity == "error"]
    if errors:
        text = _("A reload was refused: the files before it stay in force")
        yield Trouble(text, "/ui/status#findings", errors[0].message)
    for row in rows:
        if row.webhooks and row.webhooks.truncated:
            cut = row.webhooks.truncated
            text = _("{name}: Alertmanager has cut off {count} alerts (max_alerts)", name=row.integration, count=cut)
            yield Trouble(text, f"#{row.integration}")
    for cluster in clusters:
        if cluster.held:
            yield Trouble(_("HELD: {count} open alarms vanished at once", count=len(cluster.held)), "/ui/reconcile")
        if cluster.missing:
            text = _("{count} alerts fire in Alertmanager that no webhook brought", count=len(cluster.missing))
            yield Trouble(text, "/ui/reconcile")


def _silent(rows: Sequence[Any], now: datetime, _: Language) -> Iterator[Trouble]:
    """Integrations whose reports do not reach COC."""
    for row in rows:
        if row.pause:
            yield Trouble(_paused(row, now, _), f"#{row.integration}")
    for row in rows:
        if row.breaker == "open" and not row.pause:
            yield Trouble(_("COC does not answer {name}", name=row.integration), f"#{row.integration}")
    for row in rows:
        late = row.oldest_pending_at and (now - shown.parsed(row.oldest_pending_at)).total_seconds()
        if late and late > LATE_SECONDS and not row.pause:
            age, count = shown.duration(late), row.pending
            text = _(
                "{name}: the oldest of {count} reports waits for {age}", name=row.integration, count=count, age=age
            )
            yield Trouble(text, f"/ui/alarms?integration={row.integration}&pending=true")


def _paused(row: Any, now: datetime, _: Language) -> str:
    since = shown.age(row.pause.since, now)
    reasons = {
        "operator": _("{name} was paused {age} ago by {by}", name=row.integration, age=since, by=row.pause.by),
        "credentials": _(
            "{name} is paused: COC has refused its credentials for {age}", name=row.integration, age=since
        ),
        "endpoint": _(
            "{name} is paused: its address at COC has not been found for {age}", name=row.integration, age=since
        ),
        "refusals": _("{name} is paused: COC has refused everything for {age}", name=row.integration, age=since),
    }
    paused = reasons.get(row.pause.reason) or _("{name} has been paused for {age}", name=row.integration, age=since)
    if not row.pending:
        return f"{paused}."
    oldest = shown.age(row.oldest_pending_at, now)
    return _("{paused}. {count} reports wait, the oldest for {age}.", paused=paused, count=row.pending, age=oldest)


async def pause(visit: Visit) -> Done:
    name = visit.path["name"]
    await visit.ask(
        "POST /api/v1/integrations/{name}/pause", path={"name": name}, body={"because": visit.form.get("because", "")}
    )
    return Done("/ui/", f"paused.{name}")


async def resume(visit: Visit) -> Done:
    name = visit.path["name"]
    await visit.ask("POST /api/v1/integrations/{name}/resume", path={"name": name})
    return Done("/ui/", f"resumed.{name}")
