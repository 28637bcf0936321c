"""What rendering takes and gives: the types that delivery, metrics and the stored outcome share with it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal, NamedTuple

from pydantic_core import from_json

from adapter.application import Lookup


class Reason(StrEnum):
    """Why a field is not as the mapping says. A closed list: it is a metric label."""

    NO_RULE = "no rule"
    EMPTY = "empty"  # required, but rendered to nothing
    ERROR = "error"  # the template failed
    TIMEOUT = "timeout"  # a template of the rule took too long
    MEMORY = "memory"  # it wanted more memory than the worker process may have
    CRASH = "crash"  # a template of the rule ended the worker process
    NOT_A_LEVEL = "not a level"  # alarmLevel outside COC's enum
    TOO_LONG = "too long"  # an optional field that must not be cut, such as a URL, was left out
    REFUSED = "refused"  # COC refused the mapped body; this is the built-in one


class FailureReason(NamedTuple):
    """Why a template gave nothing usable."""

    reason: Reason
    detail: str = ""  # one line for a person, at most 200 characters

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


Fallbacks = Mapping[str, FailureReason]
"""Why each field fell back; a key is a COC field, `additional.KEY`, or `when` for a condition that failed."""


class Contract(NamedTuple):
    """What adapter.yml says about the bodies of an integration."""

    clean_name: bool = True  # alarm_name: clean
    require_application_id: bool = True
    additional_labels: bool = True


class RenderRequest(NamedTuple):
    """One alarm to render."""

    raw: bytes  # alertmanager.pack
    integration: str
    alarm_id: str
    time_ms: int
    status: Literal["alarm", "ok"]
    contract: Contract


class RenderResult(NamedTuple):
    """One alarm rendered. `json` is complete and within COC's field contract; None when a rule drops the alarm."""

    rule: str | None
    mapping: str | None  # the file's name
    revision: str
    dropped: bool
    fallbacks: Fallbacks
    clipped: tuple[str, ...]
    unknown_severity: bool  # no table knows its word; it counts as Major
    json: bytes | None
    lookups: tuple[Lookup, ...] = ()  # of the filter `application`, in order

    @property
    def body(self) -> dict[str, Any] | None:
        """The fields of `json`."""
        return None if self.json is None else from_json(self.json)
