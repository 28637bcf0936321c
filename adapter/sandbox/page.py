"""PURE: the sandbox's page: what it took last, newest first. Any word may come from an alert, so each is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}

_HEAD = """<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="5">
<title>Sandbox COC</title><style>
body{font:14px/1.4 system-ui,sans-serif;margin:1.5em}table{border-collapse:collapse}
td,th{border:1px solid #bbb;padding:.25em .6em;text-align:left;vertical-align:top}td{overflow-wrap:anywhere}
</style></head><body><h1>Sandbox COC</h1>
<p>Not COC: it takes what COC's documentation allows, and shows it. As JSON:
<a href="/alarms">/alarms</a>, <a href="/refusals">/refusals</a>, <a href="/counts">/counts</a>,
<a href="/faults">/faults</a>. <code>curl -X DELETE .../alarms</code> empties it.</p>"""

_COLUMNS = ("alarmStatus", "alarmLevel", "alarmName", "nameSpace", "applicationId", "resourceName", "alarmDesc")


def page(alarms: Iterable[Mapping[str, Any]], counts: Mapping[str, Any]) -> str:
    """The whole document; `alarms` as GET /alarms lists them, in the order to show."""
    sums = "".join(f"<li>{escape(str(name))}: {escape(str(value))}</li>" for name, value in counts.items())
    heads = "".join(f"<th>{name}</th>" for name in ("seq", "received", "integration", *_COLUMNS))
    rows = "".join(_row(alarm) for alarm in alarms)
    return f"{_HEAD}<ul>{sums}</ul><table><tr>{heads}</tr>{rows}</table></body></html>\n"


def _row(alarm: Mapping[str, Any]) -> str:
    body = alarm["body"]
    cells = [alarm["seq"], alarm["received_at"], alarm["integration"], *(body.get(name, "") for name in _COLUMNS)]
    return "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells) + "</tr>"
