"""docs/glossary.md explains every kind and outcome that metrics, logs and answers contain."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from adapter.alarm import Kind, News, Outcome
from adapter.metrics import CARRIED

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "glossary.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("word", [*Kind, CARRIED, *Outcome])
def test_every_kind_and_outcome_of_a_report_is_explained(word: str) -> None:
    assert f"`{word}`" in TEXT


@pytest.mark.parametrize("word", [news for news in News if news is not News.REJECTED])
def test_every_outcome_of_an_alert_is_explained(word: str) -> None:
    assert re.search(rf"^\| {word} \||`{word}`", TEXT, re.MULTILINE)
