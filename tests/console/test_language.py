"""Both languages say the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from adapter.admin.sentences import TEXTS
from adapter.console.language import messages, preferred

CONSOLE = Path(__file__).resolve().parents[2] / "adapter" / "console"
_CATALOGUE = tomllib.loads((CONSOLE / "zh.toml").read_text(encoding="utf-8"))
CHINESE, SENTENCES = _CATALOGUE["texts"], _CATALOGUE["sentences"]


def test_the_catalogue_has_what_pages_say_and_nothing_else() -> None:
    sources = [path for suffix in ("py", "html", "js") for path in CONSOLE.rglob(f"*.{suffix}")]
    used = set().union(*(messages(path.read_text(encoding="utf-8")) for path in sources))
    assert used - CHINESE.keys() == set(), "without Chinese"
    assert CHINESE.keys() - used == set(), "used nowhere"


@pytest.mark.parametrize("english", CHINESE)
def test_both_languages_name_the_same_values(english: str) -> None:
    assert CHINESE[english]
    assert set(re.findall(r"{\w*}", english)) == set(re.findall(r"{\w*}", CHINESE[english]))


def test_every_sentence_of_an_explanation_has_its_chinese() -> None:
    assert SENTENCES.keys() == TEXTS.keys()
    for code, text in TEXTS.items():
        assert set(re.findall(r"{\w+", text)) == set(re.findall(r"{\w+", SENTENCES[code])), code


@pytest.mark.parametrize(
    ("accepted", "language"),
    [("", "en"), ("zh", "zh"), ("ZH-tw", "zh"), ("de,zh;q=0.1", "zh"), ("en;q=0.2,zh;q=0.3", "zh"), ("zh;q=x", "en")],
)
def test_the_first_language_of_ours_that_the_browser_prefers(accepted: str, language: str) -> None:
    assert preferred(accepted) == language


def test_no_template_puts_out_text_as_it_is() -> None:
    for path in CONSOLE.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\|\s*safe\b|autoescape false|style=|\son\w+=|<script>", text), path.name
