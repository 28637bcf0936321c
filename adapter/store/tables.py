"""PURE: the tables of both schemas, for errors that say which one a statement was about."""

from __future__ import annotations

import re
from typing import Final

from adapter.errors import StoreUnavailable

_NAMES: Final = "alarm|report|webhook|reject|pause|directory|sums|counter|replica|revision|leader|meta"
_TABLES: Final = re.compile(rf"\b(?:FROM|INTO|UPDATE|JOIN) ({_NAMES})\b")


def check_kept(table: str, kept: int, given: int) -> None:
    """StoreUnavailable where rows were written that are not there: a trigger of another program left them out."""
    if kept < given:
        raise StoreUnavailable(f"only {kept} of {given} rows were kept in the table {table}; has it a trigger?")


def place_of(statement: str) -> str:
    """What to add to an error; empty where the statement names no table of ours."""
    tables = ", ".join(dict.fromkeys(_TABLES.findall(statement)))
    return f" (in a statement on {tables})" if tables else ""
