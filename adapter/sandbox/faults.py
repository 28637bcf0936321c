"""PURE: the faults that a sandbox plays on request, as rules in the order they were given; the first that fits plays.

A rule is a JSON object; every field is optional.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError


class Fault(BaseModel):
    """One rule, and how often it was played."""

    model_config = ConfigDict(extra="forbid", strict=True)

    status: Annotated[int, Field(ge=200, le=599)] = 0  # 400 by default where `code` is given
    code: str = ""  # error_code of the answer
    message: str = ""  # error_msg of the answer
    retry_after: Annotated[
        str, Field(pattern="^[ -~]*$"), BeforeValidator(lambda value: str(value) if type(value) is int else value)
    ] = ""  # the Retry-After header, as it is to be sent
    delay: Annotated[float, Field(ge=0, le=3600)] = 0.0  # seconds to wait first; alone, then treated as usual
    reset: Literal["", "before", "after"] = ""  # the connection is reset, before or after the alarm is taken
    html: bool = False  # a log-in page instead of JSON, status 200 by default
    body: str | None = None  # this text instead of JSON, status 200 by default; may be empty
    share: Annotated[float, Field(ge=0, le=1)] = 1.0  # the part of the fitting requests it plays for, spread evenly
    call: Literal["report", "applications"] = "report"  # only for this call
    loop: bool = False  # applications: the first page again for each marker
    alarm_id: str = ""  # only for this alarmId
    times: Annotated[int, Field(ge=0)] = 0  # only so many times; 0: no limit
    _played: int = PrivateAttr(0)
    _fitting: int = PrivateAttr(0)

    def shown(self) -> dict[str, Any]:
        """As `GET /faults` lists it: what was set, and how often it played."""
        return {**self.model_dump(exclude_defaults=True), "played": self._played}

    @property
    def answers(self) -> bool:
        """Whether it brings an answer of its own, so that nothing is taken."""
        return self.status not in (0, 200) or bool(self.code) or self.html or self.body is not None

    def plays(self, alarm_id: str, call: Literal["report", "applications"] = "report") -> bool:
        """Whether this rule plays now; counts the request."""
        if call != self.call:
            return False
        if (self.alarm_id and self.alarm_id != alarm_id) or (self.times and self._played >= self.times):
            return False
        self._fitting += 1
        # Evenly rather than at random, so that a run can be repeated.
        if math.floor(self._fitting * self.share + 1e-9) == math.floor((self._fitting - 1) * self.share + 1e-9):
            return False
        self._played += 1
        return True


def read_faults(document: object) -> list[Fault]:
    """A JSON list of rules, or one rule. ValueError says which rule is wrong and how."""
    faults = []
    for number, rule in enumerate(document if isinstance(document, list) else [document], 1):
        try:
            faults.append(Fault.model_validate(rule))
        except ValidationError as exc:
            error = exc.errors(include_url=False)[0]
            name = error["loc"][0] if error["loc"] else "it"
            problem = f"{name}: {error['msg']}"
            if error["type"] == "extra_forbidden":
                problem = f"unknown field {name!r}; known are {', '.join(Fault.model_fields)}"
            raise ValueError(f"rule {number}: {problem}") from None
    return faults
