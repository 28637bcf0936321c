"""How the process before ended, and which reports it may have sent without a word of it here.

Claims are not written, so nobody knows which of the waiting reports were under way when a process died. All of them
are in doubt then, and none of those that came later.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from adapter.store.sqlite.recovery import DamagedRow

_LEFT: Final = "SELECT CASE WHEN claiming THEN seq ELSE maybe_sent_upto END FROM counter"
_BEGIN: Final = "UPDATE counter SET maybe_sent_upto = max(maybe_sent_upto, ?), claiming = 1"
_END: Final = "UPDATE counter SET claiming = 0"


def left(connection: sqlite3.Connection) -> int:
    """Up to which seq a waiting report is in doubt, as the process before left it."""
    row = connection.execute(_LEFT).fetchone()
    if row is None:
        raise DamagedRow("the row that ids are given out from is gone")
    return int(row[0])


def begin(connection: sqlite3.Connection, maybe_sent_upto: int) -> None:
    """Say that reports are sent from now on; `maybe_sent_upto` is what `left` said."""
    connection.execute(_BEGIN, (maybe_sent_upto,))


def end(connection: sqlite3.Connection) -> None:
    """Say that nothing is under way any more."""
    connection.execute(_END)
