"""The pages on mappings are run: every file is used, every command gives what it shows, every table is the code's."""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from adapter.coc.fields import ADDITIONAL, BY_NAME
from adapter.mapping.render.request import Reason
from adapter.mapping.rules.files import load
from adapter.mapping.rules.filters import FILTERS, LEVEL_WORDS
from adapter.mapping.rules.language import ALERT_NAMES, GROUP_NAMES, NAMES
from adapter.mapping.rules.model import NOTES
from adapter.mapping.tools.cases import run_cases
from adapter.mapping.tools.preview import check
from tests.mapping.builders import text_of
from tests.mapping.mistakes import page

ROOT = Path(__file__).parent.parent.parent
FIRST, LANGUAGE, COOKBOOK = (
    (ROOT / "docs" / f"{name}.md").read_text() for name in ("mapping", "mapping-language", "mapping-cookbook")
)
MISTAKES = ROOT / "docs" / "mapping-mistakes.md"


class Block(NamedTuple):
    section: str
    kind: str
    text: str

    @property
    def path(self) -> str:
        """The name of the file, from a comment in its first line."""
        found = re.match(r"# (\S+)\n", self.text)
        return found[1] if found else ""


def blocks() -> Iterator[Block]:
    section = ""
    for match in re.finditer(r"^(## [^\n]*)$|^```(\w+)\n(.*?)^```$", FIRST + LANGUAGE + COOKBOOK, re.M | re.S):
        if match[1]:
            section = match[1].lstrip("# ")
        else:
            yield Block(section, match[2], match[3])


BLOCKS = list(blocks())
RECIPES = [line[3:] for line in COOKBOOK.splitlines() if line[:3] == "## "]


def place(block: Block, folder: Path) -> None:
    path = folder / block.path
    path.parent.mkdir(parents=True, exist_ok=True)
    text = block.text if block.kind == "yaml" else block.text.split("\n", 1)[1]
    path.write_text(text)


def test_every_block_is_a_file_or_a_command() -> None:
    assert len(BLOCKS) > 20
    for block in BLOCKS:
        assert block.kind == "console" or block.path, block


def test_the_ten_minutes_go_as_shown(tmp_path: Path) -> None:
    """Files are written and commands run in the order of the page."""
    commands = 0
    for block in BLOCKS:
        if block.section != "Ten minutes":
            continue
        if block.kind != "console":
            place(block, tmp_path)
            continue
        command, shown = block.text.split("\n", 1)
        program, *arguments = shlex.split(command.removeprefix("$ "))
        assert program == "coc-adapter"
        run = subprocess.run(
            [sys.executable, "-m", "adapter", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert run.stderr == ""
        printed = re.sub(r"(mappingRevision +)[0-9a-f]{12}$", r"\1REVISION", run.stdout, flags=re.M)
        assert printed == shown, command
        commands += 1
    assert commands == 4


@pytest.mark.parametrize("recipe", RECIPES)
async def test_each_recipe_passes_its_cases(recipe: str, tmp_path: Path) -> None:
    for block in BLOCKS:
        if block.section == recipe:
            place(block, tmp_path)
    assert load(tmp_path / "mappings").warnings == ()
    out = io.StringIO()
    assert await run_cases(tmp_path / "mappings", [], None, out) == 0, out.getvalue()
    assert "no case reaches" not in out.getvalue()


def test_the_recipes_people_ask_for_are_there() -> None:
    asked = ["application", "region", "UTC+8", "Severity", "Watchdog", "receiver", "Grafana", "Chinese"]
    assert all(any(word in recipe for recipe in RECIPES) for word in asked)


def table(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading."""
    rows = LANGUAGE[LANGUAGE.index(heading) :].split("\n|---|", 1)[1].split("\n\n", 1)[0].splitlines()[1:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def test_every_filter_example_gives_what_it_says() -> None:
    rows = table("\n## Filters")
    for example, gives in rows:
        assert text_of(example.strip("`").replace("\\|", "|")) == gives.strip("`"), example
    shown = " ".join(example for example, _ in rows)
    assert {name for name in FILTERS if name != "d"} <= set(re.findall(r"\w+", shown))


def test_every_level_word_is_listed() -> None:
    rows = table("The words `level` knows")
    assert {level: words.replace("`", "").replace(",", "").split() for level, words in rows} == {
        f"`{level}`": words.split() for level, words in LEVEL_WORDS.items()
    }


def test_every_reason_is_listed() -> None:
    assert [reason.strip("`") for reason, _ in table("\n## When something goes wrong")] == [str(one) for one in Reason]


def test_every_name_and_field_is_listed() -> None:
    names = {name for row in table("\n## Names") for name in re.findall(r"`(\w+)`", " ".join(row))}
    assert names == {*NAMES, *ALERT_NAMES, *GROUP_NAMES}
    fields = {name for row in table("\n## Fields") for name in re.findall(r"`(\w+)`", row[0])}
    assert fields == {*BY_NAME, ADDITIONAL} - {"alarmId", "time", "alarmStatus"}
    assert all(f"`{note}`" in LANGUAGE for note in NOTES)


def test_the_mapping_of_the_ten_minutes_has_no_finding(tmp_path: Path) -> None:
    """In the form that it has at the end of the section."""
    for block in BLOCKS:
        if block.section == "Ten minutes" and block.path == "mappings/shop.yaml":
            place(block, tmp_path)
    assert list(check(tmp_path / "mappings")) == []


def test_the_page_of_mistakes_is_the_list_that_the_tests_read() -> None:
    """UPDATE_GOLDEN=1 writes it."""
    if os.environ.get("UPDATE_GOLDEN"):
        MISTAKES.write_text(page())
    assert MISTAKES.read_text() == page()
