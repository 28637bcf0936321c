"""No command prints a control character of a text that others wrote; line ends are the command's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.golden.terminal import run_apart
from tests.mapping.builders import one_rule, write
from tests.stage import REPOSITORY, alert, webhook

NASTY = "x\x1b[2J\x07\r\x9b31m\x7f\x00\u202e\u2028y"
ALLOWED = "\n\t\N{ZERO WIDTH JOINER}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Payloads, mappings and cases full of control characters, and a configuration that names them."""
    whole = alert(NASTY, fingerprint=NASTY, labels={NASTY: NASTY, "severity": NASTY}, annotations={"summary": NASTY})
    rejected = [{"status": NASTY}, {"status": "firing", "labels": {NASTY: 1}}]
    body = webhook(whole, *rejected, receiver=NASTY, groupKey=NASTY, externalURL=NASTY)
    (tmp_path / "alerts.json").write_bytes(body)
    (tmp_path / "not.json").write_text(f'{{"version": "{NASTY}"')
    write(tmp_path / "mappings", a=one_rule(resourceName="{{ annotations.summary }}", URL="{{ labels.severity + 1 }}"))
    write(tmp_path / "wrong", a=one_rule(resourceName="{{ wrong }}").replace("wrong }}", "wrong\x9b\u202e }}"))
    (tmp_path / "cases.yaml").write_text(
        json.dumps({"tests": [{"name": NASTY, "payload": "alerts.json", "expect": {"rule": NASTY}}]})
    )
    (tmp_path / "adapter.yml").write_text("mappings: wrong\nintegrations: {default: {site: cn, integration_key: k}}\n")
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        "render alerts.json",
        "render --mappings=mappings alerts.json",
        "render --mappings=wrong alerts.json",
        "render not.json",
        f"diff --mappings=mappings --against={REPOSITORY / 'mappings'} alerts.json",
        "test --mappings=mappings cases.yaml",
        "test --mappings=mappings not.json",
        "check",
        "serve --web.listen-address=\x1b[2J",
        "alarms list --adapter.url=\x1b[2J",
    ],
)
def test_no_command_prints_control_characters(words: str, folder: Path) -> None:
    ended = run_apart(*words.split(" "), folder=folder)
    assert "Traceback" not in ended.errors
    assert ended.out + ended.errors
    printed = ended.out + ended.errors
    assert [char for char in printed if not char.isprintable() and char not in ALLOWED] == []


def test_json_means_the_same_with_the_characters_escaped(folder: Path) -> None:
    ended = run_apart("render", "--output=json", "alerts.json", folder=folder)
    assert json.loads(ended.out)[0]["fingerprint"] == NASTY
    assert [char for char in ended.out if not char.isprintable() and char not in ALLOWED] == []


@pytest.mark.parametrize("encoding", ["ascii", "gbk"])
def test_what_the_encoding_of_the_terminal_lacks_is_an_escape(
    encoding: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    (folder / "alerts.json").write_bytes(webhook(alert("Host", fingerprint="主机\U0001f525")))
    ended = run_apart("render", "--output=json", "alerts.json", folder=folder)
    assert (ended.code, ended.errors) == (0, "")
    assert json.loads(ended.out)[0]["fingerprint"] == "主机\U0001f525"
