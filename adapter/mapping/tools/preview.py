"""`coc-adapter check`, `render` and `diff`: what mappings do, before production uses them.

All three run the rules in a worker process of their own, under the limits of production.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TextIO

from pydantic_core import to_json

from adapter.alertmanager import Alert, Group, Webhook, pack, parse_webhook
from adapter.application import Directories, Index
from adapter.clock import Micros
from adapter.coc.fields import ADDITIONAL, tidy
from adapter.errors import Finding, MappingError
from adapter.lifecycle import coc_alarm_id
from adapter.mapping.render.live import LiveMappings
from adapter.mapping.render.request import Contract, RenderRequest, RenderResult
from adapter.mapping.rules.language import WHEN
from adapter.table import fit, width


class Preview(NamedTuple):
    """For which integration, under which of its settings, and when the alerts are taken to be received."""

    received: Micros
    integration: str = "default"
    contract: Contract = Contract()
    per_episode: bool = False  # relay.alarm_id

    def request(self, alert: Alert, group: Group) -> RenderRequest:
        """For an alert that has no history, as delivery asks for it."""
        resolved = alert.status == "resolved"
        return RenderRequest(
            raw=pack(alert, group.as_json()),
            integration=self.integration,
            alarm_id=coc_alarm_id(alert, per_episode=self.per_episode),
            time_ms=((alert.ends if resolved else alert.starts) or self.received) // 1000,
            status="ok" if resolved else "alarm",
            contract=self.contract,
        )


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
        objects = [as_dict(alert, result) for alert, result in zip(webhook.alerts, results, strict=True)]
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
        lines = _differences(old_result, new_result)
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


def flat(result: RenderResult) -> dict[str, Any]:
    """The rule and the body's fields on one level, without the revision."""
    fields = {"rule": result.rule, "dropped": result.dropped, **_body_fields(result)}
    fields.pop(f"{ADDITIONAL}.mappingRevision", None)
    return fields


def _body_fields(result: RenderResult) -> dict[str, Any]:
    fields = result.body or {}
    additional = fields.pop(ADDITIONAL, {})
    return fields | {f"{ADDITIONAL}.{key}": text for key, text in additional.items()}


def shown(value: object) -> str:
    """A field's value for a person."""
    return str(value).lower() if isinstance(value, bool) else repr(value)


def rule_of(result: RenderResult) -> str:
    return f"rule {result.rule} of {result.mapping}" if result.rule is not None else "no rule"


def _differences(before: RenderResult, after: RenderResult) -> list[str]:
    old, new = flat(before), flat(after)
    names = [name for name in new | old if old.get(name) != new.get(name)]
    return [f"  {name}: {_or_absent(old.get(name))} -> {_or_absent(new.get(name))}" for name in names]


def _or_absent(value: object) -> str:
    return "(absent)" if value is None else shown(value)


def _title(alert: Alert) -> str:
    name = tidy(alert.labels.get("alertname", "(no alertname)"), lines=False)
    return f"{name} {_on_one_line(alert.fingerprint)} {alert.status}"


def _on_one_line(text: str) -> str:
    return text.replace("\n", "\\n").replace("\t", "\\t")


def as_dict(alert: Alert, result: RenderResult) -> dict[str, Any]:
    """What `render --output=json` and the admin API show of an alert."""
    return {
        "fingerprint": alert.fingerprint,
        "rule": result.rule,
        "mapping": result.mapping,
        "dropped": result.dropped,
        "fallbacks": [{"field": field, "reason": why.reason} for field, why in result.fallbacks.items()],
        "clipped": list(result.clipped),
        "body": result.body,
    }


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
    fields = _body_fields(result)
    column = max(map(width, fields), default=0)
    for name, value in fields.items():
        text = _on_one_line(str(value))
        note = notes.pop(name, "")
        print(f"  {fit(name, column)}  {text}" + (f"   <- {note}" if note else ""), file=out)
    for name, note in notes.items():
        print(f"  {fit(name, column)}  (left out)   <- {note}" if name != WHEN else f"  when: {note}", file=out)
    print(file=out)
