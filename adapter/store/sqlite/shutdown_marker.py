"""How the process before ended, and which reports it may have sent without a word of it here.

Claims are not written, so nobody knows which of the waiting reports were under way when a process died. All of them
are in doubt then, and none of those that came later.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from adapter.store.sqlite.recovery import DamagedRow

_LEFT: Final = "SELECT CASE WHEN serving THEN seq ELSE doubtful END FROM counter"
_BEGIN: Final = "UPDATE counter SET doubtful = max(doubtful, ?), serving = 1"
_END: Final = "UPDATE counter SET serving = 0"


def left(connection: sqlite3.Connection) -> int:
    """Up to which seq a waiting report is in doubt, as the process before left it."""
    row = connection.execute(_LEFT).fetchone()
    if row is None:
        raise DamagedRow("the row that ids are given out from is gone")
    return int(row[0])


def begin(connection: sqlite3.Connection, doubtful: int) -> None:
    """Say that reports are sent from now on; `doubtful` is what `left` said."""
    connection.execute(_BEGIN, (doubtful,))


def end(connection: sqlite3.Connection) -> None:
    """Say that nothing is under way any more."""
    connection.execute(_END)
