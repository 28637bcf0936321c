"""Walks the data of a file a person edits: typed values out, and a finding for whatever is wrong, without stopping."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from adapter.errors import Finding
from adapter.yamlfile import Loc, YamlFile, nearest

_DURATION: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_SECONDS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class Walk:
    """`findings` starts with what was wrong with the file itself."""

    def __init__(self, file: YamlFile, *, hidden: tuple[Loc, ...] = ()) -> None:
        """`hidden`: places whose source lines no finding shows, because secrets stand there."""
        self.findings: list[Finding] = list(file.findings)
        self._file = file
        self._hidden = hidden

    def duration(self, loc: Loc, keys: Mapping[str, Any]) -> float:
        """Seconds of a Go duration such as 1s, 500ms or 1m30s; 0 is none."""
        value = keys.get(str(loc[-1]), 0)
        text = str(value)
        parts = _DURATION.findall(text)
        if value is not None and text.strip("0") == "" and text:
            return 0.0
        if not parts or "".join(number + unit for number, unit in parts) != text:
            self.note(loc, "must be a duration", "such as 1s, 500ms or 1m30s")
            return 0.0
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)

    def mapping(self, loc: Loc, known: tuple[str, ...] | None) -> Mapping[str, Any]:
        """The mapping at `loc`; nothing there is an empty one, and keys not `known` are noted."""
        value = self._at(loc)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.note(loc, "must be a mapping of names to values")
            return {}
        for key in value if known is not None else ():
            if known is not None and key not in known:
                self.note((*loc, key), f"unknown key {key!r}", nearest(key, known), at_key=True)
        return value

    def items(self, loc: Loc, keys: Mapping[str, Any]) -> range:
        value = keys.get(str(loc[-1]))
        if value is None:
            return range(0)
        if not isinstance(value, list):
            self.note(loc, "must be a list")
            return range(0)
        return range(len(value))

    def text(self, loc: Loc, *, empty: bool = False) -> str:
        value = self._at(loc)
        if value is None and empty:
            return ""
        if not isinstance(value, str) or not (value or empty):
            self.note(loc, "must be text")
            return ""
        return value

    def word(self, loc: Loc, known: Mapping[str, object]) -> str:
        value = self.text(loc)
        if value and value not in known:
            self.note(loc, f"{value!r} is not known here", nearest(value, list(known)) or f"known: {', '.join(known)}")
            return ""
        return value

    def flag(self, loc: Loc, keys: Mapping[str, Any], default: bool) -> bool:
        value = keys.get(str(loc[-1]), default)
        if not isinstance(value, bool):
            self.note(loc, "must be true or false")
            return default
        return value

    def _at(self, loc: Loc) -> Any:
        value = self._file.data
        for part in loc:
            value = value[part]
        return value

    def note(self, loc: Loc, message: str, hint: str = "", *, at_key: bool = False) -> None:
        """Something is wrong at `loc`."""
        finding = self._file.finding(loc, message, hint, at_key=at_key)
        if any(loc[: len(place)] == place for place in self._hidden):
            finding = replace(finding, source="")
        self.findings.append(finding)
