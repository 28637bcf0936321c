"""`coc-adapter check`: every finding of a directory of mapping files, those included that would not refuse a reload."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from adapter.errors import Finding, MappingError
from adapter.mapping.render.live import LiveMappings
from adapter.mapping.rules import files


def check(directory: Path) -> Sequence[Finding]:
    """Read, check, compile and try the rules in a child, as a reload would; empty when there is nothing to say.

    Runs an event loop of its own, so call it from none.
    """
    try:
        warnings = files.load(directory).warnings
        tried = asyncio.run(_try_out(directory))
    except MappingError as exc:
        return exc.findings
    return (*warnings, *tried)


async def _try_out(directory: Path) -> Sequence[Finding]:
    mappings = await LiveMappings.open(directory)
    await mappings.close()
    return mappings.findings
