"""PURE: alarms by when they last changed, and tallies of them, without reading a million rows. For both databases.

A page is a walk along an index, newest first, that ends once the page is full or the walk has passed so many rows; then
the page says where it ended, and the next one goes on from there. The walk is along

- the open alarms, or those of one integration, where they are few: these are sorted;
- else `alarm_notable`, where the query asks for what only those alarms are;
- else `alarm_changed`, which has every alarm.

Conditions are SQL that both databases read alike, with `?` for a value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from adapter.alarm import Status
from adapter.store.records import Row
from adapter.store.views import AlarmQuery, AlarmRow, Bounds, Coc, Page, Place, Tally

NOTABLE: Final = (
    "pending > 0 OR fell_back OR accepted_status IS NULL OR accepted_episode <> episode"
    " OR (accepted_status = 'alarm') <> (status = 'firing')"
)
"""The condition of the index alarm_notable, word by word."""
_COC_NONE: Final = "accepted_status IS NULL OR accepted_episode <> episode"
_NOT_DROPPED: Final = "(coalesce(earlier_outcome, '') <> 'dropped' OR earlier_episode <> episode)"
_NOT_AT_COC: Final = (
    f"status = 'firing' AND {_NOT_DROPPED}"
    " AND (coalesce(accepted_status, '') <> 'alarm' OR accepted_episode <> episode)"
)
_OPEN_AT_COC: Final = f"status = 'resolved' AND {_NOT_DROPPED} AND coalesce(accepted_status, '') = 'alarm'"
_MISMATCH: Final = f"({_NOT_AT_COC}) OR ({_OPEN_AT_COC})"
_LAST: Final = Place(2**63 - 1, 2**63 - 1)

_NOTED: Final = {
    "coc_none": _COC_NONE,
    "not_at_coc": _NOT_AT_COC,
    "open_at_coc": _OPEN_AT_COC,
    "pending": "pending > 0",
    "fell_back": "fell_back",
}
TALLIES: Final = {
    "all": AlarmQuery(),
    "firing": AlarmQuery(status=Status.FIRING),
    "resolved": AlarmQuery(status=Status.RESOLVED),
    "coc_none": AlarmQuery(coc=Coc.NONE),
    "not_at_coc": AlarmQuery(status=Status.FIRING, mismatch=True),
    "open_at_coc": AlarmQuery(status=Status.RESOLVED, mismatch=True),
    "pending": AlarmQuery(pending=True),
    "fell_back": AlarmQuery(fell_back=True),
}
"""The query that finds what a tally counts."""


class Condition(NamedTuple):
    text: str
    values: tuple[object, ...] = ()


class Walk(NamedTuple):
    """Rows to look at."""

    along: str  # an index
    conditions: tuple[Condition, ...] = ()

    @property
    def ordered(self) -> bool:
        """Whether the index has them in order."""
        return self.along in ("alarm_changed", "alarm_notable")


_FIRING: Final = Condition("status = 'firing'")
_ALL: Final = Walk("alarm_changed")
_NOTABLE: Final = Walk("alarm_notable", (Condition(NOTABLE),))


def narrow_walks(query: AlarmQuery) -> list[Walk]:
    """Those that may have few rows, the best one first."""
    own = () if query.integration is None else (Condition("integration = ?", (query.integration,)),)
    open_alarms = [Walk("alarm_open", (*own, _FIRING))] if query.status is Status.FIRING else []
    return [*open_alarms, *([_NOTABLE] if _is_notable(query) else []), *([Walk("alarm_identity", own)] if own else [])]


def wide_walk(query: AlarmQuery) -> Walk:
    return _NOTABLE if _is_notable(query) else _ALL


def _is_notable(query: AlarmQuery) -> bool:
    return query.coc is Coc.NONE or bool(query.mismatch or query.pending or query.fell_back)


def conditions(query: AlarmQuery) -> list[Condition]:
    """What SQL can tell of a row, but for its fingerprint."""
    wanted = []
    if query.integration is not None:
        wanted.append(Condition("integration = ?", (query.integration,)))
    if query.status is not None:
        wanted.append(Condition("status = ?", (query.status.value,)))
    if query.unseen_since is not None:
        wanted.append(Condition("status = 'firing' AND last_seen < ?", (query.unseen_since,)))
    if query.coc is Coc.NONE:
        wanted.append(Condition(_COC_NONE))
    elif query.coc is not None:
        wanted.append(Condition("accepted_status = ? AND accepted_episode = episode", (query.coc.value,)))
    for flag, text in ((query.mismatch, _MISMATCH), (query.pending, "pending > 0"), (query.fell_back, "fell_back")):
        if flag is not None:
            wanted.append(Condition(text if flag else f"NOT ({text})"))
    return wanted


def before(place: Place | None) -> Condition:
    return Condition("(changed, id) < (?, ?)", place or _LAST)


def where(wanted: Sequence[Condition]) -> tuple[str, list[object]]:
    """All of the conditions as one, and its values."""
    texts = [f"({text})" for text, _ in wanted]
    return " AND ".join(texts) or "TRUE", [value for _, values in wanted for value in values]


def looked_into(query: AlarmQuery) -> bool:
    """Whether Python has to: of labels the databases cannot tell, nor of what is not written yet."""
    return bool(query.text or query.matchers) or query.unseen_since is not None


def most_passed(query: AlarmQuery, bounds: Bounds) -> int:
    return bounds.searched if looked_into(query) else bounds.walked


def page_of(rows: Sequence[AlarmRow], query: AlarmQuery, ended: Place | None) -> Page:
    """`rows`: at most one more than the limit. `ended`: where the walk did, if it passed as many rows as it may."""
    if len(rows) > query.limit:
        return Page(list(rows[: query.limit]), rows[query.limit - 1].place)
    return Page(list(rows), ended)


def tallied(integration: str | None) -> list[tuple[Walk, list[Condition], dict[str, str]]]:
    """Walks of which the first rows are tallied, the condition on these rows, and that of each tally."""
    own = () if integration is None else (Condition("integration = ?", (integration,)),)
    everything = Walk("alarm_identity", own) if own else _ALL
    return [
        (everything, [], {"all": "TRUE", "resolved": "status = 'resolved'"}),
        (Walk("alarm_open", (*own, _FIRING)), [], {"firing": "TRUE"}),
        (_NOTABLE, list(own), _NOTED),
    ]


def tallies_of(row: Row, names: Sequence[str], bounds: Bounds) -> dict[str, Tally]:
    """`row`: the tallies by name, and under `walked` the rows, one more than may be where there are more."""
    at_least = row["walked"] > bounds.counted
    return {name: Tally(min(row[name], bounds.counted), at_least) for name in names}
