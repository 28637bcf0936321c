"""PURE: the faults that a sandbox plays on request, as rules in the order they were given; the first that fits plays.

A rule is a JSON object; every field is optional:

    status       HTTP status of the answer (400 and COC's words by default when `code` is given)
    code         error_code of the answer
    message      error_msg of the answer
    retry_after  the Retry-After header, as it is to be sent
    delay        seconds to wait before anything else; alone, the request is then treated as usual
    reset        before: the connection is reset, nothing was taken
                 after:  the alarm is taken, the connection is reset without an answer
    html         true: a log-in page instead of JSON, status 200 by default
    body         this text instead of JSON, status 200 by default; may be empty
    share        0..1: the part of the fitting requests it plays for, spread evenly; 1 by default
    alarm_id     only for this alarmId
    times        only so many times
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any


@dataclass(kw_only=True, slots=True)
class Fault:
    """One rule, and how often it was played."""

    status: int = 0
    code: str = ""
    message: str = ""
    retry_after: str = ""
    delay: float = 0.0
    reset: str = ""
    html: bool = False
    body: str | None = None
    share: float = 1.0
    alarm_id: str = ""
    times: int = 0  # 0: no limit
    played: int = 0
    fitting: int = 0

    def shown(self) -> dict[str, Any]:
        """As `GET /faults` lists it: what was set, and how often it played."""
        default = Fault()
        found = {name: getattr(self, name) for name in _FIELDS if getattr(self, name) != getattr(default, name)}
        return {**found, "played": self.played}

    @property
    def answers(self) -> bool:
        """Whether it brings an answer of its own, so that nothing is taken."""
        return self.status not in (0, 200) or bool(self.code) or self.html or self.body is not None

    def plays(self, alarm_id: str) -> bool:
        """Whether this rule plays now; counts the request."""
        if (self.alarm_id and self.alarm_id != alarm_id) or (self.times and self.played >= self.times):
            return False
        self.fitting += 1
        # Evenly rather than at random, so that a run can be repeated.
        if math.floor(self.fitting * self.share + 1e-9) == math.floor((self.fitting - 1) * self.share + 1e-9):
            return False
        self.played += 1
        return True


_FIELDS = tuple(field.name for field in fields(Fault) if field.name not in ("played", "fitting"))
_RESETS = ("", "before", "after")


def read_faults(document: object) -> list[Fault]:
    """A JSON list of rules, or one rule. ValueError says which rule is wrong and how."""
    rules = document if isinstance(document, list) else [document]
    return [_read(number, rule) for number, rule in enumerate(rules, 1)]


def _read(number: int, rule: object) -> Fault:
    if not isinstance(rule, dict):
        raise ValueError(f"rule {number} is not an object")
    given: dict[str, Any] = dict(rule)
    for name in given:
        if name not in _FIELDS:
            raise ValueError(f"rule {number}: unknown field {name!r}; known are {', '.join(_FIELDS)}")
    if isinstance(given.get("retry_after"), int):
        given["retry_after"] = str(given["retry_after"])
    fault = Fault()
    for name, value in given.items():
        wanted = str if name == "body" else type(getattr(fault, name))
        if wanted is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not wanted:
            raise ValueError(f"rule {number}: {name} must be a {wanted.__name__}")
        setattr(fault, name, value)
    if problem := _problem(fault):
        raise ValueError(f"rule {number}: {problem}")
    return fault


def _problem(fault: Fault) -> str:
    if fault.status and not 200 <= fault.status <= 599:
        return "status must be between 200 and 599"
    if not 0 <= fault.share <= 1:
        return "share must be between 0 and 1"
    if not 0 <= fault.delay <= 3600:
        return "delay must be between 0 and 3600 seconds"
    if fault.reset not in _RESETS:
        return "reset must be before or after"
    if not (fault.retry_after.isprintable() and fault.retry_after.isascii()):
        return "retry_after cannot be a header"
    return "times must not be negative" if fault.times < 0 else ""
