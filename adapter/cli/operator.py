"""Operator commands (`alarms`, `dead-letters`, `integrations`, `reconcile`): call the admin API, print tables, JSON."""

from __future__ import annotations

import argparse
import functools
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from adapter.cli.client import PAGE, ask, finding_of, pages, with_password
from adapter.table import cell, table
from adapter.units import seconds

ADMIN_URL: Final = "http://127.0.0.1:9877"
MOST_EXPLAINED: Final = 5
NOT_ASKED: Final = "auth is none, and COC lists applications only to a caller with credentials"
REMOVING_SECONDS: Final = 600.0  # a million alarms take a minute

_ALARMS: Final = ("fingerprint", "integration", "status", "coc_status", "pending", "alertname", "last_seen_at")
_DEAD: Final = ("id", "integration", "fingerprint", "kind", "received_at", "rule", "answer")
_MEMBERS: Final = ("address", "result", "cluster_status", "up_since", "alerts", "seconds", "error")
_HELD: Final = ("integration", "fingerprint", "alertname")
_MISSING: Final = (*_HELD, "because")
_INTEGRATIONS: Final = ("integration", "state", "breaker", "pending", "open_alarms", "dead_letters", "because")


def add_operator_commands(commands: Any) -> None:
    text = "what the adapter knows of alarms, and why COC heard what it heard"
    alarms = add_group(commands, "alarms", text, _list_alarms, status=None, text=None, matcher=[], unseen=None)
    listing = add_verb(alarms, "list", "alarms, one per line", _list_alarms)
    listing.add_argument("--integration", metavar="NAME")
    listing.add_argument("--status", choices=["firing", "resolved"])
    listing.add_argument("--text", metavar="TEXT", help="part of the fingerprint or of any label value")
    listing.add_argument(
        "--matcher", action="append", default=[], metavar='LABEL="VALUE"',
        help="""as Alertmanager's: =, !=, =~, !~, several with commas or flags; all must hold""",
    )  # fmt: skip
    listing.add_argument(
        "--unseen", type=_duration, metavar="DURATION",
        help="only open alarms that no webhook has named for so long, such as 24h",
    )  # fmt: skip
    why = add_verb(alarms, "explain", "why did nobody get paged", _explain)
    why.add_argument("alarm", metavar="FINGERPRINT|TEXT")
    why.add_argument("--integration", metavar="NAME")

    dead = add_group(commands, "dead-letters", "reports COC refused for good", _list_dead)
    add_verb(dead, "list", "dead letters, one per line", _list_dead).add_argument("--integration", metavar="NAME")
    replay = add_verb(dead, "replay", "owe them again, rendered anew", _replay)
    replay.add_argument("ids", nargs="+", type=int, metavar="ID")
    replay.add_argument("--as-sent", action="store_true", help="send the very body COC refused")
    add_verb(dead, "discard", "take them off the list", _discard).add_argument("ids", nargs="+", type=int, metavar="ID")

    integrations = add_group(commands, "integrations", "integrations with state and backlog", _list_integrations)
    add_verb(integrations, "list", "integrations, one per line", _list_integrations)
    for name, text in (("pause", "report nothing until resumed"), ("resume", "report again")):
        verb = add_verb(integrations, name, text, functools.partial(_set_state, name))
        verb.add_argument("name", metavar="NAME")
        verb.set_defaults(because="")
        if name == "pause":
            verb.add_argument("--because", metavar="TEXT", help="why, for those who ask later")
    text = "end what an integration left that is no longer in adapter.yml"
    add_verb(integrations, "discard", text, _discard_integration).add_argument("name", metavar="NAME")
    move = add_verb(integrations, "move", "give that to another integration, in its order", _move_integration)
    move.add_argument("name", metavar="OLD")
    move.add_argument("to", metavar="NEW")

    text = "what Alertmanager and the adapter disagree on"
    reconcile = add_group(commands, "reconcile", text, _reconcile_status, alone="status")
    add_verb(reconcile, "status", "members, states, and what is held or missing", _reconcile_status)
    approve = add_verb(reconcile, "approve", "let through what is held of an Alertmanager", _approve)
    approve.add_argument("name", metavar="NAME", help="of the Alertmanager in adapter.yml")


def _duration(text: str) -> str:
    try:
        seconds(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None
    return text


def add_group(
    commands: Any,
    name: str,
    text: str,
    run: Callable[[argparse.Namespace], int],
    /,
    *,
    alone: str = "list",
    **defaults: Any,
) -> Any:
    """A command with verbs; without one it does `run`, which the verb `alone` does too.

    `defaults`: of the verbs' flags.
    """
    group = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
    _flags(group, url=default_url(), output="table")
    group.set_defaults(run=run, password_file=None, integration=None, **defaults)
    return group.add_subparsers(metavar="COMMAND", title="commands", description=f"without one: {alone}")


def add_verb(group: Any, name: str, text: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = group.add_parser(name, help=text, description=text, allow_abbrev=False)
    # The flags stand before the verb or after it; a default here would undo what stood before.
    _flags(verb, url=argparse.SUPPRESS, output=argparse.SUPPRESS)
    verb.set_defaults(run=run)
    return verb


def _flags(parser: argparse.ArgumentParser, *, url: str, output: str) -> None:
    add_adapter_flags(parser, url=url)
    parser.add_argument("--output", choices=["table", "json"], default=output)


def add_adapter_flags(parser: argparse.ArgumentParser, *, url: str) -> None:
    """Where the adapter is and how to log in; see admin_url. `url`: the default."""
    where = f"the admin listener ($COC_ADAPTER_URL, else {ADMIN_URL}); http://USER:PASSWORD@... where it asks for them"
    parser.add_argument("--adapter.url", dest="url", default=url, metavar="URL", help=where)
    parser.add_argument(
        "--adapter.password-file", dest="password_file", type=Path, default=argparse.SUPPRESS, metavar="FILE",
        help="holds the password; the user's name stands in the URL: http://USER@...",
    )  # fmt: skip


def default_url() -> str:
    return os.environ.get("COC_ADAPTER_URL") or ADMIN_URL


def admin_url(options: argparse.Namespace) -> str:
    """The URL to ask, with the password of --adapter.password-file."""
    return with_password(options.url, options.password_file) if options.password_file else str(options.url)


def _list_alarms(options: argparse.Namespace) -> int:
    query = {name: getattr(options, name) for name in ("integration", "status", "text", "matcher", "unseen")}
    rows = pages(admin_url(options), "/api/v1/alarms", query)
    return print_rows(options, rows, _alarms(rows))


def _alarms(rows: Sequence[Mapping[str, Any]]) -> str:
    return table_of(_ALARMS, [{**row, "alertname": row["labels"].get("alertname", "")} for row in rows], "no alarms")


def _explain(options: argparse.Namespace) -> int:
    query = {"integration": options.integration, "text": options.alarm, "limit": PAGE}
    rows = ask(admin_url(options), "GET", "/api/v1/alarms", query=query)
    exact = [row for row in rows if row["fingerprint"] == options.alarm]
    named = [(row["integration"], row["fingerprint"]) for row in exact or rows]
    if len(named) > MOST_EXPLAINED:
        print(f"{len(named)} alarms match; name one by its fingerprint:\n", file=sys.stderr)
        return print_rows(options, rows, _alarms(rows)) or 1
    if not named:
        state = ask(admin_url(options), "GET", "/api/v1/integrations")
        named = [(options.integration or state[0]["integration"], options.alarm)]
    trails = [
        ask(admin_url(options), "GET", f"/api/v1/alarms/{quote(integration, safe='')}/{quote(fingerprint, safe='')}")
        for integration, fingerprint in named
    ]
    return print_rows(
        options, trails, "\n\n".join(_trail(name, trail) for name, trail in zip(named, trails, strict=True))
    )


def _trail(name: tuple[str, str], trail: Mapping[str, Any]) -> str:
    """One screen: the sentences, then the last reports."""
    integration, fingerprint = name
    alarm = trail["alarm"] or {"labels": {}}
    labels = ", ".join(cell(f'{label}="{value}"') for label, value in alarm["labels"].items())
    lines = [f"{cell(fingerprint)} in {integration} {{{labels}}}", ""]
    lines += [f"  {cell(sentence)}" for sentence in trail["explanation"]]
    reports = []
    for report in trail["reports"][:10]:
        origin = f"{report['mapping'] or ''} {report['rule'] or ''}".strip()
        outcome = report["outcome"] or "pending"
        reports.append({**report, "outcome": outcome, "made by": origin, "answer": _answer(report)})
    columns = ("id", "kind", "outcome", "received_at", "done_at", "attempts", "made by", "answer")
    if reports:
        lines += ["", *(f"  {line}" for line in table_of(columns, reports, "").splitlines())]
        last = next((report for report in trail["reports"] if report["body"]), None)
        if last:
            lines += ["", f"  body of report {last['id']}: {cell(json.dumps(last['body'], ensure_ascii=False))}"]
    return "\n".join(lines)


def _list_dead(options: argparse.Namespace) -> int:
    rows = pages(admin_url(options), "/api/v1/dead-letters", {"integration": options.integration})
    return print_rows(
        options, rows, table_of(_DEAD, [row | {"answer": _answer(row)} for row in rows], "no dead letters")
    )


def _replay(options: argparse.Namespace) -> int:
    body = {"ids": options.ids, "as_sent": options.as_sent}
    return _done(options, "replayed", ask(admin_url(options), "POST", "/api/v1/dead-letters/replay", body))


def _discard(options: argparse.Namespace) -> int:
    return _done(
        options, "discarded", ask(admin_url(options), "POST", "/api/v1/dead-letters/discard", {"ids": options.ids})
    )


def _done(options: argparse.Namespace, verb: str, rows: Sequence[Mapping[str, Any]]) -> int:
    """1 when one of the ids was no dead letter."""
    missing = sorted(set(options.ids) - {row["id"] for row in rows})
    lines = [f"{verb} {row['id']}" for row in rows] + [f"{seq} is not on the list of dead letters" for seq in missing]
    print_rows(options, rows, "\n".join(lines))
    return 1 if missing else 0


def _list_integrations(options: argparse.Namespace) -> int:
    rows = ask(admin_url(options), "GET", "/api/v1/integrations")
    shown = [row | {"breaker": row["breaker"] or "", "because": _because(row)} for row in rows]
    text = table_of(_INTEGRATIONS, shown, "no integrations")
    if options.output == "table":
        found = ask(admin_url(options), "GET", "/api/v1/status")["mapping"]["findings"]
        text = "\n".join([text, *([""] if found else []), *(cell(finding_of(one)) for one in found)])
    return print_rows(options, rows, text)


def _because(row: Mapping[str, Any]) -> str:
    """Why it is paused, and why its applications are not as COC has them."""
    if row["state"] == "orphan":
        return "not in adapter.yml: move or discard it"
    pause, applications = row["pause"], row["applications"]
    reasons = [_paused(pause)] if pause else []
    if applications and applications["problem"]:
        reasons.append(f"applications: {applications['problem']}")
    return "; ".join(reasons)


def _paused(pause: Mapping[str, Any]) -> str:
    by = f" {pause['by']}" if pause["reason"] == "operator" and pause["by"] != "admin API" else ""
    return f"{pause['reason']}{by}: {pause['detail']}"


def _discard_integration(options: argparse.Namespace) -> int:
    done = _remove(options, "discard")
    return print_rows(options, done, f"discarded what {cell(options.name)} left: {_removed(done)}")


def _move_integration(options: argparse.Namespace) -> int:
    done = _remove(options, "move", {"to": options.to})
    new = cell(options.to)
    older = (
        f" ({done['superseded']} superseded by what {new} has sent of the same alarms)" if done["superseded"] else ""
    )
    more = f", {done['owed']} more owed that {new} does not have as they are" if done["owed"] else ""
    return print_rows(options, done, f"moved what {cell(options.name)} left to {new}: {_removed(done)}{older}{more}")


def _remove(options: argparse.Namespace, verb: str, body: Any = None) -> Any:
    path = f"/api/v1/integrations/{quote(options.name, safe='')}/{verb}"
    return ask(admin_url(options), "POST", path, body, seconds=REMOVING_SECONDS)


def _removed(done: Mapping[str, Any]) -> str:
    return f"{done['alarms']} alarms, {done['reports']} pending reports, {done['dead_letters']} dead letters"


def _set_state(verb: str, options: argparse.Namespace) -> int:
    body = {"because": options.because} if options.because else None
    row = ask(admin_url(options), "POST", f"/api/v1/integrations/{quote(options.name, safe='')}/{verb}", body)
    return print_rows(options, row, f"{row['integration']} is {row['state']}, {row['pending']} reports pending")


def _reconcile_status(options: argparse.Namespace) -> int:
    answer = ask(admin_url(options), "GET", "/api/v1/reconcile")
    text = "\n\n".join(map(_alertmanager, answer["alertmanagers"]))
    return print_rows(options, answer, text or "reconcile is off: adapter.yml names no Alertmanager to ask")


def _alertmanager(row: Mapping[str, Any]) -> str:
    valid = f"last valid poll {row['valid_at']}" if row["valid_at"] else "no valid poll yet"
    polled = f", polled by replica {row['replica']}" if row["replica"] else ""
    lines = [f"{cell(row['name'])}: {row['mode']}, {valid}{polled}"]
    lines += [f"  {line}" for line in table_of(_MEMBERS, row["members"], "").splitlines()]
    lines.append("  " + ", ".join(f"{state.replace('_', ' ')} {count}" for state, count in row["states"].items()))
    lines += [f"  webhooks came from {cell(origin)}" for origin in row["origins"]]
    for name, columns in (("held", _HELD), ("missing", _MISSING)):
        if row[name]:
            lines += [f"  {name}:", *(f"    {line}" for line in table_of(columns, row[name], "").splitlines())]
    if row["held"]:
        lines.append(f"  let them through: coc-adapter reconcile approve {cell(row['name'])}")
    return "\n".join(lines)


def _approve(options: argparse.Namespace) -> int:
    row = ask(admin_url(options), "POST", f"/api/v1/reconcile/{quote(options.name, safe='')}/approve")
    return print_rows(
        options, row, f"{row['approved']} alarms of {cell(row['name'])} are closed at the next valid poll"
    )


def _answer(report: Mapping[str, Any]) -> str:
    if not report["last_attempts"]:
        return ""
    last = report["last_attempts"][-1]
    parts = (last["verdict"], last["status"], last["code"], last["message"])
    return " ".join(str(part) for part in parts if part)


def print_rows(options: argparse.Namespace, data: Any, text: str) -> int:
    """The data as JSON, or the text, as --output says; 0."""
    print(json.dumps(data, ensure_ascii=False, indent=2) if options.output == "json" else text)
    return 0


def table_of(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], empty: str) -> str:
    """Columns as wide as needed; lines are cut at the terminal's edge, never in a pipe."""
    if not rows:
        return empty
    headings = {column: column.upper().replace("_", " ") for column in columns}
    edge = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    return table(headings, rows, edge=edge)
