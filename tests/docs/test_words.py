"""The package once had private words for common things. None of them comes back."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORDS = (
    "purse", "courier", "preparer", "settler", "mourn", "autopsy", "keeper", "dice", "stumbles?", "stumbled",
    "a word of it", "defect of the adapter",
)  # fmt: skip
PATTERN = re.compile(rf"\b({'|'.join(WORDS)})\b", re.IGNORECASE)
FOLDERS = (("adapter", "*.py"), ("tests", "*.py"), ("bench", "*.py"), ("docs", "*.md"), (".", "*.md"))


def test_no_private_word_is_used_where_the_trade_has_a_noun() -> None:
    files = {
        path
        for folder, pattern in FOLDERS
        for path in ((ROOT / folder).glob(pattern) if folder == "." else (ROOT / folder).rglob(pattern))
    } - {Path(__file__).resolve()}
    assert len(files) > 200
    uses = [f"{path.relative_to(ROOT)}: {word}" for path in files for word in PATTERN.findall(path.read_text("utf-8"))]
    assert not uses
