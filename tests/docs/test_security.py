"""SECURITY.md names an existing test for every threat; its table of settings is complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from adapter.errors import ConfigError
from adapter.server.webconfig import CLIENT_AUTH, VERSIONS, load_web_config

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


def test_the_table_of_the_web_config_file_is_that_of_the_code() -> None:
    table = dict(re.findall(r"^\| `([\w.]+)`.*? \| (.*) \|$", TEXT, re.MULTILINE))
    assert re.findall(r"`(\w+)`", table["client_auth_type"]) == list(CLIENT_AUTH)
    assert re.findall(r"`(\w+)`", table["min_version"]) == list(VERSIONS)


def test_each_setting_listed_as_not_supported_is_refused(tmp_path: Path) -> None:
    listed = re.search(r"^Not supported: (.*?)\. ", TEXT, re.MULTILINE | re.DOTALL)
    assert listed
    path = tmp_path / "web.yml"
    for name in re.findall(r"`(\w+)`", listed[1]):
        path.write_text(f"{name}: 1\n" if name == "rate_limit" else f"tls_server_config: {{{name}: 1}}\n")
        with pytest.raises(ConfigError, match=f"{name} is not supported"):
            load_web_config(path)
