"""`diff --recent`: what new mappings would change of the alerts that came lately, as the running adapter has them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from adapter.cli.client import ask, finding_of
from adapter.errors import AdapterError, MappingError

if TYPE_CHECKING:
    from adapter.application import Directories

MOST_RECENT: Final = 1000
TRY_SECONDS: Final = 60.0  # four others may wait before, with 7 s for each


def diff_recent(new: Path, url: str, count: int, applications: Directories, out: TextIO) -> int:
    """Print what differs, the alarms that would no longer be reported first; 1 when something does.

    2 when the adapter cannot be asked, because 1 would say that alarms differ. MappingError for mappings that cannot
    serve.
    """
    from adapter.mapping.rules.files import snapshot

    texts = {name: text.decode(errors="replace") for name, text in snapshot(new).files}
    try:
        serving = ask(url, "GET", "/api/v1/mappings")["files"]
        alerts = ask(url, "GET", "/api/v1/alerts/recent", query={"limit": count})
        order: dict[str, Any] = {
            "files": {**dict.fromkeys(serving), **texts},
            "alerts": {"ids": [alert["id"] for alert in alerts]},
        }
        if applications:
            order["applications"] = _listed(applications)
        answer = ask(url, "POST", "/api/v1/mappings/try", order, seconds=TRY_SECONDS)
    except AdapterError as exc:
        print(f"coc-adapter: {exc}", file=sys.stderr)
        return 2
    errors = [
        finding_of(found | {"file": str(new / found["file"])})
        for found in answer["findings"]
        if found["severity"] == "error"
    ]
    if answer["refused"]:
        raise MappingError(errors)
    for finding in errors:
        print(finding, file=sys.stderr)
    return _print(alerts, answer["results"], out)


def _listed(applications: Directories) -> list[dict[str, Any]]:
    """What `applications list --output=json` prints of them. The directory without a name holds those of all others."""
    named = {name: one.nodes for name, one in applications.items() if name}
    known = {node for nodes in named.values() for node in nodes}
    rest = [node for node in applications[""].nodes if node not in known] if "" in applications else []
    return [{**node._asdict(), "integration": name} for name, nodes in {**named, "": rest}.items() for node in nodes]


def _print(alerts: Sequence[dict[str, Any]], results: Sequence[dict[str, Any]], out: TextIO) -> int:
    from adapter.mapping.tools.result import differences, flat_of, title

    by_id = {alert["id"]: alert["alert"] for alert in alerts}
    compared = [row for row in results if row["draft"] is not None and row["serving"] is not None]
    dropped = [row for row in compared if _newly_dropped(row)]
    others = [row for row in compared if not _newly_dropped(row)]
    alarms, fields = 0, 0
    for row in (*dropped, *others):
        lines = differences(flat_of(row["serving"]), flat_of(row["draft"]))
        if lines:
            alert = by_id[row["id"]]
            name = title(alert["labels"].get("alertname", "(no alertname)"), row["fingerprint"], alert["status"])
            no_more = ", no longer reported" if _newly_dropped(row) else ""
            print(f"{row['integration']}: {name}{no_more}", *lines, "", sep="\n", file=out)
            alarms += 1
            fields += len(lines)
    late = len(results) - len(compared)
    missed = f"; {late} were not reached in time" if late else ""
    print(f"{alarms} of {len(compared)} alarms differ, {fields} fields{missed}", file=out)
    return 1 if alarms else 0


def _newly_dropped(row: dict[str, Any]) -> bool:
    return bool(row["draft"]["dropped"] and not row["serving"]["dropped"])
