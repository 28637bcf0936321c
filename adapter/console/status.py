"""Status: ready or why not, the build, the configuration, the store, and what a reload refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from adapter.console.visit import Visit

AROUND: Final = 3  # lines shown before and after a finding
LARGEST: Final = 512 * 1024  # bytes of a mapping file that is shown
FINDINGS: Final = 50


class Line(NamedTuple):
    """One line of a file: what stands before the mark, in it and after it."""

    number: int
    before: str
    marked: str
    after: str


async def load(visit: Visit) -> Mapping[str, Any]:
    status = (await visit.ask("GET /api/v1/status")).content
    findings = status.mapping.findings[:FINDINGS]
    texts = await asyncio.to_thread(_texts, Path(status.mapping.directory), findings)
    return {
        "status": status,
        "findings": [(item, list(excerpt(texts.get(item.file, ""), item.line, item.col))) for item in findings],
        "more": len(status.mapping.findings) - len(findings),
        "config": yaml.safe_dump(dict(status.config), sort_keys=False, allow_unicode=True),
    }


def _texts(folder: Path, findings: Sequence[Any]) -> dict[str, str]:
    """The mapping files that findings are about, as they are on the disk now; no other file is read."""
    texts = {}
    for name in {item.file for item in findings}:
        path = folder / Path(name).name
        try:
            if path.suffix in (".yaml", ".yml") and path.stat().st_size <= LARGEST:
                texts[name] = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
    return texts


def excerpt(text: str, line: int, column: int) -> Iterator[Line]:
    """The lines around a finding, with a mark from its column to the end of the word there."""
    lines = text.split("\n")
    if not 1 <= line <= len(lines):
        return
    for number in range(max(1, line - AROUND), min(len(lines), line + AROUND) + 1):
        shown = lines[number - 1]
        if number != line:
            yield Line(number, shown, "", "")
            continue
        start = max(column - 1, 0)
        end = next((at for at in range(start + 1, len(shown)) if not shown[at].isalnum()), len(shown))
        yield Line(number, shown[:start], shown[start:end], shown[end:])
