"""`coc-adapter render` and `diff`: what mappings make of a webhook body, before production does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TextIO

from pydantic_core import to_json

from adapter.alertmanager import Alert, Group, Webhook, pack, parse_webhook
from adapter.coc.fields import tidy
from adapter.errors import Finding, MappingError, PayloadError
from adapter.lifecycle import Policy, coc_alarm_id
from adapter.mapping.render.live import LiveMappings
from adapter.mapping.render.request import Contract, RenderRequest, RenderResult

_BY_FINGERPRINT: Final = Policy(refresh_interval=0, id_per_episode=False)


def job_of(alert: Alert, group: Group, integration: str) -> RenderRequest:
    """The job an alert would be if it came now, without any history."""
    resolved = alert.status == "resolved"
    return RenderRequest(
        raw=pack(alert, group.as_json()),
        integration=integration,
        alarm_id=coc_alarm_id(alert, _BY_FINGERPRINT),
        time_ms=max(1, (alert.ends if resolved else alert.starts) // 1000),
        status="ok" if resolved else "alarm",
        contract=Contract(),
    )


async def render_payload(
    directory: Path, integration: str, body: bytes, output: str, out: TextIO, errors: TextIO
) -> int:
    """Print what each alert of a webhook body becomes; 1 when the mappings or the body cannot be used.

    `output`: `json` for a list of objects, with unusable alerts told on `errors`; else text for a person, all on `out`.
    """
    try:
        webhook = parse_webhook(body)
        mappings = await LiveMappings.open(directory)
    except MappingError as exc:
        print_findings(exc.findings, out)
        return 1
    except PayloadError as exc:
        print(exc, file=out)
        return 1
    try:
        rendered = await mappings.render([job_of(alert, webhook.group, integration) for alert in webhook.alerts])
    finally:
        await mappings.close()
    if output == "json":
        told = [_as_dict(alert, made) for alert, made in zip(webhook.alerts, rendered, strict=True)]
        print(to_json(told, indent=2).decode(), file=out)
        _print_rejects(webhook, errors)
    else:
        _print_all(webhook, rendered, out)
    return 0


async def diff_payloads(new: Path, old: Path, payloads: Sequence[tuple[str, bytes]], out: TextIO) -> int:
    """Print what differs between two sets of mappings, alarm by alarm; 1 when something does.

    `payloads`: name and webhook body of each.
    """
    try:
        webhooks = [(name, parse_webhook(body)) for name, body in payloads]
        made_new = await _render_all(new, [webhook for _, webhook in webhooks])
        made_old = await _render_all(old, [webhook for _, webhook in webhooks])
    except MappingError as exc:
        print_findings(exc.findings, out)
        return 1
    except PayloadError as exc:
        print(exc, file=out)
        return 1
    alerts = [(name, alert) for name, webhook in webhooks for alert in webhook.alerts]
    changed, fields = 0, 0
    for (name, alert), after, before in zip(alerts, made_new, made_old, strict=True):
        lines = _differences(before, after)
        if lines:
            print(f"{name}: {_title(alert)}", *lines, "", sep="\n", file=out)
            changed += 1
            fields += len(lines)
    print(f"{changed} of {len(alerts)} alarms differ, {fields} fields", file=out)
    return 1 if changed else 0


def print_findings(findings: Sequence[Finding], out: TextIO) -> None:
    for finding in findings:
        print(finding.with_caret(), file=out)


async def _render_all(directory: Path, webhooks: Sequence[Webhook]) -> list[RenderResult]:
    mappings = await LiveMappings.open(directory)
    try:
        jobs = [job_of(alert, webhook.group, "default") for webhook in webhooks for alert in webhook.alerts]
        return await mappings.render(jobs)
    finally:
        await mappings.close()


def flat(rendered: RenderResult) -> dict[str, Any]:
    """The rule and the body's fields on one level, without what a new revision changes by itself."""
    fields: dict[str, Any] = {"rule": rendered.rule, "dropped": rendered.dropped}
    for name, value in (rendered.body or {}).items():
        if name == "additional":
            fields.update({f"additional.{key}": text for key, text in value.items() if key != "mappingRevision"})
        else:
            fields[name] = value
    return fields


def _differences(before: RenderResult, after: RenderResult) -> list[str]:
    old, new = flat(before), flat(after)
    lines = []
    for name in dict.fromkeys([*new, *old]):
        if old.get(name) != new.get(name):
            lines.append(f"  {name}: {_shown(old.get(name))} -> {_shown(new.get(name))}")
    return lines


def _shown(value: object) -> str:
    return "(absent)" if value is None else repr(value) if isinstance(value, str) else str(value).lower()


def _title(alert: Alert) -> str:
    return f"{tidy(alert.labels.get('alertname', '(no alertname)'), lines=False)} {alert.fingerprint} {alert.status}"


def _as_dict(alert: Alert, made: RenderResult) -> dict[str, Any]:
    return {
        "fingerprint": alert.fingerprint,
        "rule": made.rule,
        "mapping": made.mapping,
        "dropped": made.dropped,
        "fallbacks": [{"field": field, "reason": reason} for field, reason, _ in made.fallbacks],
        "clipped": list(made.clipped),
        "body": made.body,
    }


def _print_all(webhook: Webhook, rendered: Sequence[RenderResult], out: TextIO) -> None:
    for alert, made in zip(webhook.alerts, rendered, strict=True):
        _print_one(alert, made, out)
    _print_rejects(webhook, out)
    dropped = sum(made.dropped for made in rendered)
    fallen = sum(bool(made.fallbacks) for made in rendered)
    clipped = sum(bool(made.clipped) for made in rendered)
    print(f"{len(rendered)} alerts: {dropped} dropped, {fallen} with fallbacks, {clipped} clipped", file=out)


def _print_rejects(webhook: Webhook, out: TextIO) -> None:
    for reject in webhook.rejects:
        print(f"rejected: {reject.reason}", file=out)


def _print_one(alert: Alert, made: RenderResult, out: TextIO) -> None:
    by = f"rule {made.rule} of {made.mapping}" if made.rule is not None else "no rule"
    print(f"{_title(alert)}: {'dropped by ' if made.dropped else ''}{by}", file=out)
    why = {field: f"fallback: {reason}" + (f" ({more})" if more else "") for field, reason, more in made.fallbacks}
    notes = {**why, **dict.fromkeys(made.clipped, "clipped; the full text is in additional")}
    fields = _rows(made.body or {})
    width = max((len(name) for name, _ in fields), default=0)
    for name, text in fields:
        note = notes.pop(name, "")
        print(f"  {name:<{width}}  {text}" + (f"   <- {note}" if note else ""), file=out)
    for name, note in notes.items():
        print(f"  {name:<{width}}  (left out)   <- {note}" if name != "when" else f"  when: {note}", file=out)
    print(file=out)


def _rows(body: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for name, value in body.items():
        if isinstance(value, dict):
            rows += [(f"{name}.{key}", _on_one_line(text)) for key, text in value.items()]
        else:
            rows.append((name, _on_one_line(str(value))))
    return rows


def _on_one_line(text: str) -> str:
    return text.replace("\n", "\\n").replace("\t", "\\t")
