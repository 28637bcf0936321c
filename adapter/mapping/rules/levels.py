"""PURE: severity words of Prometheus, Grafana, Zabbix, syslog and on-call tools -> COC's alarmLevel."""

from __future__ import annotations

from typing import Final

DEFAULT: Final = "Major"  # an unknown word must not be quieter than a warning

WORDS: Final = {
    "Critical": ("critical crit page emergency emerg fatal disaster blocker panic alert urgent p0 p1 sev0 sev1 s1 0 1"),
    "Major": "major error err high p2 sev2 s2 2",
    "Minor": "minor warning warn medium moderate average p3 sev3 s3 3",
    "Info": "info information informational suggestion none low debug notice ok p4 p5 sev4 sev5 s4 4 5",
}
"""Each level with the words it is known by, in lower case."""

_LEVELS: Final = {word: level for level, words in WORDS.items() for word in words.split()}


def level(word: object) -> str:
    """Critical, Major, Minor or Info for any severity word, whatever its case; Major for one nobody knows."""
    return _LEVELS.get(str(word).strip().lower(), DEFAULT)
