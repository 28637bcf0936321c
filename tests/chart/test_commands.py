"""The command line accepts every command in docs and runbooks."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest

from adapter.cli.main import parser
from tests.chart.rule_files import METRICS_PAGE, PROOF_OF_LIFE, RUNBOOKS

_DOCS = RUNBOOKS.parent
PAGES = [*sorted(RUNBOOKS.glob("*.md")), METRICS_PAGE, PROOF_OF_LIFE, _DOCS / "troubleshooting.md"]
PAGES += [_DOCS / "zh" / "runbooks.md", _DOCS / "zh" / "troubleshooting.md"]
PLACES = {
    "FINGERPRINT": "5b2f0c1a9d3e4f60",
    "TEXT": "Watchdog",
    "NAME": "default",
    "ID...": "17",
    "PAYLOAD.json": "p.json",
}
_COMMAND = re.compile(r"coc-adapter( [a-z-]+(?: [^`|,;()\n]+)?)(?=`|\n)")


def commands() -> Iterator[str]:
    for page in PAGES:
        for command in _COMMAND.findall(page.read_text()):
            yield command.strip()


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_the_command_line_accepts_every_command_of_the_pages(command: str) -> None:
    words = [PLACES.get(word, word) for word in shlex.split(command)]
    if words[0] == "diff":
        words += ["--mappings=new", "--against=old", "p.json"]
    assert parser().parse_args(words).run


def test_the_pages_name_each_kind_of_operator_command() -> None:
    documented = {" ".join(command.split()[:2]) for command in commands()}
    assert documented >= {
        "alarms list",
        "alarms explain",
        "dead-letters list",
        "dead-letters replay",
        "dead-letters discard",
        "integrations list",
        "integrations resume",
    }
