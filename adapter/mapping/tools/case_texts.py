"""Reads the tests beside mapping files, with their payloads, as texts to be edited."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

from adapter.files import content

LARGEST: Final = 512 * 1024  # bytes of all together; larger files are left out
MOST: Final = 1000  # files
_SUFFIXES: Final = (".yaml", ".yml", ".json")


def read_tests(folder: Path) -> dict[str, str]:
    """By name from the folder on, such as `payloads/shop.json`; hidden entries and what is no text are left out."""
    texts: dict[str, str] = {}
    left = LARGEST
    with suppress(OSError):
        for path in sorted(folder.rglob("*"))[:MOST]:
            name = path.relative_to(folder)
            if path.suffix.lower() not in _SUFFIXES or any(part.startswith(".") for part in name.parts):
                continue
            with suppress(OSError, UnicodeDecodeError):
                text = content(path, left)
                texts[name.as_posix()] = text.decode()
                left -= len(text)
    return texts
