"""Overview: is anybody missing a page? The worst first, then every integration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from adapter.console import shown
from adapter.console.forms import Done
from adapter.console.language import Language
from adapter.console.visit import Visit

LATE_SECONDS: Final = 60.0  # the age of a report from which on pages may be late


class Trouble(NamedTuple):
    """Something wrong, in words, and where to look."""

    text: str
    link: str
    detail: str = ""


async def load(visit: Visit) -> Mapping[str, Any]:
    status = (await visit.ask("GET /api/v1/status")).content
    troubles = list(worst(status, visit.now, visit.language))
    known = (await visit.ask("GET /api/v1/alarms", query={"limit": ["1"]})).content
    host = urlsplit(f"//{visit.host}").hostname or "127.0.0.1"
    scheme = "https" if visit.secure else "http"
    return {
        "status": status,
        "troubles": troubles,
        "first_run": not known,
        "webhook_url": f"{scheme}://{f'[{host}]' if ':' in host else host}:{visit.webhook_port}/webhook",
    }


def worst(status: Any, now: datetime, _: Language) -> Iterator[Trouble]:
    """What is wrong, the worst first."""
    if not status.ready:
        yield Trouble(_("Webhooks are not accepted"), "/ui/status", status.not_ready_because or "")
    for warning in status.store.get("warnings", ()):
        yield Trouble(_("The store warns"), "/ui/status", str(warning))
    rows = status.integrations
    for row in rows:
        if row.pause:
            yield Trouble(_paused(row, now, _), f"#{row.integration}")
    for row in rows:
        if row.breaker == "open" and not row.pause:
            yield Trouble(_("COC does not answer {name}", name=row.integration), f"#{row.integration}")
    for row in rows:
        late = row.oldest_pending_at and (now - shown.parsed(row.oldest_pending_at)).total_seconds()
        if late and late > LATE_SECONDS and not row.pause:
            age = shown.duration(late)
            text = _(
                "{name}: the oldest of {count} reports waits for {age}",
                name=row.integration,
                count=row.pending,
                age=age,
            )
            yield Trouble(text, f"/ui/alarms?integration={row.integration}&pending=true")
    dead = sum(row.dead_letters for row in rows)
    if dead:
        yield Trouble(_("COC has refused {count} reports for good", count=dead), "/ui/dead-letters")
    errors = [finding for finding in status.mapping.findings if finding.severity == "error"]
    if errors:
        yield Trouble(
            _("A reload was refused: the files before it stay in force"), "/ui/status#findings", errors[0].message
        )


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
