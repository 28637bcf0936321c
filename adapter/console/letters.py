"""Dead letters by COC's refusal, with what would be sent now; the questions before many change; and rejects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from adapter.admin.openapi import Problem
from adapter.console.forms import Done
from adapter.console.visit import Visit

ROWS: Final = 10  # of a group, each with its differences
REJECTS: Final = 50
MOST: Final = 1000  # reports in one question
TYPED: Final = 50  # above so many a discard asks for their number
_GROUPS: Final = "GET /api/v1/dead-letters/groups"
_PREVIEW: Final = "POST /api/v1/dead-letters/preview"


async def load(visit: Visit) -> Mapping[str, Any]:
    groups = await _groups(visit)
    chosen = _group(groups, visit.one("group")) or (groups[0] if len(groups) == 1 else None)
    rows: list[tuple[Any, Any]] = []
    following, problem = None, ""
    if chosen is not None:
        ids = [seq for seq in chosen.ids if seq >= _whole(visit.one("from"))]
        reports = await _reports(visit, ids[:ROWS])
        following = ids[ROWS] if len(ids) > ROWS else None
        previews, problem = await _previews(visit, [report.id for report in reports])
        rows = [(report, previews.get(report.id)) for report in reports]
    return {"groups": groups, "chosen": chosen, "rows": rows, "following": following, "problem": problem}


async def _groups(visit: Visit) -> list[Any]:
    integration = visit.one("integration")
    groups: list[Any] = (await visit.ask(_GROUPS)).content
    return [group for group in groups if integration in ("", group.integration)]


def _group(groups: Sequence[Any], seq: str) -> Any:
    """The group of a report; None where it is no dead letter any more."""
    return next((group for group in groups if _whole(seq) in group.ids), None)


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


async def _reports(visit: Visit, ids: Sequence[int]) -> list[Any]:
    found = []
    for seq in ids:
        query = {"after": [str(seq - 1)], "limit": ["1"]}
        found += (await visit.ask("GET /api/v1/dead-letters", query=query)).content
    return [report for report in found if report.id in ids]


async def _previews(visit: Visit, ids: Sequence[int]) -> tuple[dict[int, Any], str]:
    """By id, and why there are none."""
    if not ids:
        return {}, ""
    try:
        answer = await visit.ask(_PREVIEW, body={"ids": list(ids)})
    except Problem as exc:
        return {}, str(exc)
    return {item.id: item for item in answer.content}, ""


async def load_replay(visit: Visit) -> Mapping[str, Any]:
    ids, total, group = await _asked(visit)
    previews, problem = await _previews(visit, ids)
    now = [item.now for item in previews.values()]
    return {
        "ids": ids,
        "total": total,
        "group": group,
        "problem": problem,
        "fall_back": sum(bool(item and item.fallbacks) for item in now),
        "dropped": sum(bool(item and item.dropped) for item in now),
    }


async def load_discard(visit: Visit) -> Mapping[str, Any]:
    ids, total, group = await _asked(visit)
    return {"ids": ids, "total": total, "group": group, "typed": len(ids) > TYPED}


async def _asked(visit: Visit) -> tuple[list[int], int, Any]:
    """The ids of the group or the report that a question is about, how many there are, and the group."""
    group = _group(await _groups(visit), visit.one("group") or visit.one("id"))
    if group is None:
        _ = visit.language
        raise Problem(404, _("It is no dead letter any more: it was replayed or discarded."))
    if visit.one("id"):
        return [_whole(visit.one("id"))], 1, group
    return list(group.ids), group.reports, group


def _ids(visit: Visit) -> list[int]:
    ids = [_whole(item) for item in visit.form.get("ids", "").split(",")]
    if not all(ids) or len(ids) > MOST:
        _ = visit.language
        raise Problem(400, _("The form names no dead letters."))
    return ids


async def replay(visit: Visit) -> Done:
    body = {"ids": _ids(visit), "as_sent": visit.form.get("as_sent") == "true"}
    replayed = (await visit.ask("POST /api/v1/dead-letters/replay", body=body)).content
    return Done("/ui/dead-letters", f"replayed.{len(replayed)}")


async def discard(visit: Visit) -> Done:
    ids = _ids(visit)
    if len(ids) > TYPED and visit.form.get("number", "").strip() != str(len(ids)):
        _ = visit.language
        raise Problem(400, _("Nothing was discarded: type {count} to discard that many.", count=len(ids)))
    discarded = (await visit.ask("POST /api/v1/dead-letters/discard", body={"ids": ids})).content
    return Done("/ui/dead-letters", f"discarded.{len(discarded)}")


async def load_rejects(visit: Visit) -> Mapping[str, Any]:
    query = {name: [visit.one(name)] for name in ("integration", "before") if visit.one(name)}
    answer = await visit.ask("GET /api/v1/rejects", query={**query, "order": ["recent"], "limit": [str(REJECTS)]})
    return {"rows": answer.content, "following": answer.following}
