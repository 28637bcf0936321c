"""`coc-adapter check`, `render` and `diff`: what mappings do, before production uses them.

All three run the rules in a worker process of their own, under the limits of production.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, TextIO

from pydantic_core import to_json

from adapter.alertmanager import Alert, Webhook, parse_webhook
from adapter.application import Directories, Index
from adapter.errors import Finding, MappingError
from adapter.mapping.render.live import LiveMappings
from adapter.mapping.render.request import RenderRequest, RenderResult
from adapter.mapping.rules.language import WHEN
from adapter.mapping.tools.request import Preview
from adapter.mapping.tools.result import as_dict, body_fields, differences, flat, on_one_line, rule_of, title
from adapter.table import fit, width

NONE: Final[Directories] = MappingProxyType({})


def check(directory: Path) -> Sequence[Finding]:
    """Every finding of a directory, warnings included; its rules are read, compiled and tried as by a reload."""
    try:
        _, mappings = asyncio.run(render_all(directory, []))
    except MappingError as exc:
        return exc.findings
    return mappings.findings


async def render_payload(
    directory: Path,
    preview: Preview,
    body: bytes,
    output: str,
    out: TextIO,
    errors: TextIO,
    applications: Directories = NONE,
) -> int:
    """Print what each alert of a webhook body becomes.

    `output`: `json` for a list of objects on `out` and rejected alerts on `errors`; else text for a person on `out`.
    """
    webhook = parse_webhook(body)
    requests = [preview.request(alert, webhook.group) for alert in webhook.alerts]
    results, _ = await render_all(directory, requests, applications)
    if output == "json":
        objects = [as_dict(alert.fingerprint, result) for alert, result in zip(webhook.alerts, results, strict=True)]
        print(to_json(objects, indent=2).decode(), file=out)
        _print_rejects(webhook, errors)
    else:
        _print_all(webhook, results, out)
    return 0


async def diff_payloads(
    new: Path,
    old: Path,
    preview: Preview,
    payloads: Sequence[tuple[str, bytes]],
    out: TextIO,
    applications: Directories = NONE,
) -> int:
    """Print what differs between two sets of mappings, alarm by alarm; 1 when something does.

    `payloads`: name and webhook body of each.
    """
    webhooks = [(name, parse_webhook(body)) for name, body in payloads]
    alerts = [(name, alert, webhook.group) for name, webhook in webhooks for alert in webhook.alerts]
    requests = [preview.request(alert, group) for _, alert, group in alerts]
    after, _ = await render_all(new, requests, applications)
    before, _ = await render_all(old, requests, applications)
    alarms, fields = 0, 0
    for (name, alert, _), old_result, new_result in zip(alerts, before, after, strict=True):
        lines = differences(flat(old_result), flat(new_result))
        if lines:
            print(f"{name}: {_title(alert)}", *lines, "", sep="\n", file=out)
            alarms += 1
            fields += len(lines)
    print(f"{alarms} of {len(alerts)} alarms differ, {fields} fields", file=out)
    return 1 if alarms else 0


async def render_all(
    directory: Path, requests: Sequence[RenderRequest], applications: Directories = NONE
) -> tuple[list[RenderResult], LiveMappings]:
    """Render by the mappings of a directory, and these mappings, closed again."""
    return await render_groups(directory, [(applications, requests)])


async def render_groups(
    directory: Path, groups: Iterable[tuple[Directories, Sequence[RenderRequest]]]
) -> tuple[list[RenderResult], LiveMappings]:
    """As `render_all`, each group by its own directories of applications."""
    mappings = await LiveMappings.open(directory)
    results: list[RenderResult] = []
    before: Iterable[str] = ()
    try:
        for applications, requests in groups:
            indexes: dict[str, Index | None] = dict.fromkeys(before)
            await mappings.set_applications(indexes | {name: one.index for name, one in applications.items()})
            results += await mappings.render(requests)
            before = applications
        return results, mappings
    finally:
        await mappings.close()


def _title(alert: Alert) -> str:
    return title(alert.labels.get("alertname", "(no alertname)"), alert.fingerprint, alert.status)


def _print_all(webhook: Webhook, results: Sequence[RenderResult], out: TextIO) -> None:
    for alert, result in zip(webhook.alerts, results, strict=True):
        _print_one(alert, result, out)
    _print_rejects(webhook, out)
    dropped = sum(result.dropped for result in results)
    fallen = sum(bool(result.fallbacks) for result in results)
    clipped = sum(bool(result.clipped) for result in results)
    print(f"{len(results)} alerts: {dropped} dropped, {fallen} with fallbacks, {clipped} clipped", file=out)


def _print_rejects(webhook: Webhook, out: TextIO) -> None:
    for reject in webhook.rejects:
        print(f"rejected: {reject.reason}", file=out)


def _print_one(alert: Alert, result: RenderResult, out: TextIO) -> None:
    print(f"{_title(alert)}: {'dropped by ' if result.dropped else ''}{rule_of(result)}", file=out)
    notes = {field: f"fallback: {why}" for field, why in result.fallbacks.items()}
    notes |= dict.fromkeys(result.clipped, "clipped; the full text is in additional")
    fields = body_fields(result.body)
    column = max(map(width, fields), default=0)
    for name, value in fields.items():
        text = on_one_line(str(value))
        note = notes.pop(name, "")
        print(f"  {fit(name, column)}  {text}" + (f"   <- {note}" if note else ""), file=out)
    for name, note in notes.items():
        print(f"  {fit(name, column)}  (left out)   <- {note}" if name != WHEN else f"  when: {note}", file=out)
    print(file=out)
