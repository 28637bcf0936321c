"""SECURITY.md names a test for every threat, and each of them exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from adapter.server.tls import CIPHERS, VERSIONS, TlsProblem, client_auth

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "SECURITY.md").read_text()
THREATS = [
    row.strip("|").split(" | ") for row in re.findall(r"^\|.*tests/.*\|$", TEXT, re.MULTILINE)
]  # threat, measure, tests


def test_every_threat_has_a_measure_and_a_test_that_exists() -> None:
    assert len(THREATS) >= 15
    for threat, measure, tests in THREATS:
        assert threat.strip()
        assert measure.strip()
        named = re.findall(r"`(tests/[\w/]+\.py)`", tests)
        assert named, threat
        for name in named:
            assert (ROOT / name).is_file(), name


def test_the_differences_of_the_web_config_file_are_those_of_the_code() -> None:
    table = dict(re.findall(r"^\| (`client_auth_type`|`min_version`.*?) \| (.*) \|$", TEXT, re.MULTILINE))
    accepted, refused = table["`client_auth_type`"].split("Refused:")
    for name in re.findall(r"`(\w+)`", accepted):
        client_auth(name)
    for name in re.findall(r"`(\w+)`", refused):
        with pytest.raises(TlsProblem):
            client_auth(name)
    assert re.findall(r"`(\w+)`", table["`min_version`, `max_version`"]) == list(VERSIONS)
    assert all(name.startswith("TLS_") for name in CIPHERS)
