"""Durations and sizes as Prometheus writes them."""

from __future__ import annotations

import re
from typing import Final

_SECONDS: Final = {"y": 31_536_000.0, "w": 604_800.0, "d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION: Final = re.compile(r"(?<!\d)(\d{1,12})(ms|[ywdhms])")
_SIZE: Final = re.compile(r"(\d{1,18})\s*(?:([KMGTPE])i?)?B?", re.ASCII)


def seconds(text: str | int) -> float:
    """`1h30m` to seconds; `0` needs no unit. ValueError says what is accepted."""
    parts = _DURATION.findall(str(text))
    if str(text) == "0":
        return 0.0
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{str(text)!r} is not a duration; write it like 10s, 5m, 1h30m or 7d")
    total = sum(int(number) * _SECONDS[unit] for number, unit in parts)
    if total > 100 * _SECONDS["y"]:
        raise ValueError(f"{text!r} is longer than 100y")
    return total


def size(text: str | int) -> int:
    """`16MiB` to bytes; like Prometheus, `MB` is 1024 x 1024 too. ValueError says what is accepted."""
    match = _SIZE.fullmatch(str(text))
    if match is None:
        raise ValueError(f"{str(text)!r} is not a size; write it like 512KiB, 16MiB or 2GiB")
    power = " KMGTPE".index(match[2]) if match[2] else 0
    return int(match[1]) << (10 * power)
