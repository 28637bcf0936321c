"""Compares a text with the recorded one, or records it."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

import pytest

RECORDED = Path(__file__).parent / "recorded"
_UPDATE = os.environ.get("UPDATE_GOLDEN") == "1"
_MOST_LINES = 200


def same(name: str, text: str) -> None:
    """Fail with the differing lines unless `recorded/NAME` holds exactly `text`."""
    path = RECORDED / name
    if _UPDATE:
        path.write_text(text, encoding="utf-8")
        return
    if not path.exists():
        pytest.fail(f"{name} is not recorded yet: UPDATE_GOLDEN=1 pytest tests/golden writes it")
    recorded = path.read_text(encoding="utf-8")
    if text != recorded:
        lines = list(difflib.unified_diff(recorded.splitlines(), text.splitlines(), "recorded", "now", lineterm=""))
        shown = "\n".join(lines[:_MOST_LINES]) or "only the ends of lines differ"
        pytest.fail(
            f"{name} differs; UPDATE_GOLDEN=1 pytest tests/golden rewrites it for review\n{shown}", pytrace=False
        )
