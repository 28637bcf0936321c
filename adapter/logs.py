"""Writes one line per event, logfmt or JSON, that cannot be forged: values are escaped, clipped and free of secrets.

A line is `ts`, `level`, `component`, `msg` and then the event's own fields in the order given. Characters that do not
print (line ends, ANSI escapes, bidirectional controls, zero-width characters) become escapes such as `\\u202e`.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
import weakref
from collections import OrderedDict, deque
from collections.abc import Hashable
from datetime import UTC, datetime
from traceback import walk_tb
from typing import Final, Literal, TextIO

from adapter.clock import Clock
from adapter.secret import Redactor, Secret

LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
MAX_FIELD: Final = 500  # characters of one value
MAX_TRACEBACK: Final = 8000
_SEARCHED: Final = 8192  # characters that are searched for secrets beyond those that are shown
_SHORTEST_SECRET: Final = 4  # replacing anything shorter would only garble the lines
_MARK: Final = "<secret>"
_PLAIN: Final = re.compile(r'[^\s"=\\]+')
_PACKAGE: Final = "adapter"
_handler: Final = logging.StreamHandler[TextIO]()


def setup(level: str, format: Literal["logfmt", "json"], stream: TextIO | None = None) -> None:
    """Send every logger of the process to `stream` (standard error when None). Other packages log from warn up."""
    _handler.stream = stream or sys.stderr
    _handler.setFormatter(_Formatter(format))
    root = logging.getLogger()
    root.addHandler(_handler)  # does nothing the second time
    root.setLevel(logging.WARNING)
    set_level(level)


def set_level(level: str) -> None:
    """debug, info, warn or error, for the adapter's own events; ValueError for another word."""
    if level not in LEVELS:
        raise ValueError(f"{level!r} is not a log level; known: {', '.join(LEVELS)}")
    logging.getLogger(_PACKAGE).setLevel(LEVELS[level])


def event(logger: logging.Logger, level: int, message: str, /, **fields: object) -> None:
    """One line: a few lower-case words, then the fields. Costs next to nothing while the level is off."""
    if logger.isEnabledFor(level):
        logger.log(level, "%s", message, extra={"event_fields": fields})


def register_secret(secret: Secret) -> None:
    """From now on the secret's value, and every later one after a rotation, is `<secret>` in every line."""
    _secrets.register(secret)


class RepeatFilter:
    """Lets the first of a row of equal failures be logged, then one reminder every few minutes.

    Keeps at most `keys` keys; the one that failed longest ago goes first.
    """

    def __init__(self, clock: Clock, *, every: float = 300.0, keys: int = 4096) -> None:
        """`every`: seconds between reminders of a failure that goes on."""
        self._clock = clock
        self._every = every
        self._keys = keys
        self._failing: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()  # when last logged, not logged since

    def failed(self, key: Hashable) -> int | None:
        """None: log nothing. Otherwise log; the number counts the failures not logged since the last line."""
        now = self._clock.monotonic()
        logged, silent = self._failing.get(key, (-math.inf, 0))
        if now - logged < self._every:
            self._failing[key] = (logged, silent + 1)
        else:
            self._failing[key] = (now, 0)
        self._failing.move_to_end(key)
        if len(self._failing) > self._keys:
            self._failing.popitem(last=False)
        return silent if now - logged >= self._every else None

    def warn(self, logger: logging.Logger, message: str, /, *, key: Hashable, **fields: object) -> None:
        """Log a warning, unless the same message was logged for the same key a short while ago."""
        silent = self.failed((message, key))
        if silent is not None:
            event(logger, logging.WARNING, message, **fields, silent=silent)

    def bug(self, logger: logging.Logger, message: str, exc: BaseException | None) -> None:
        """Log with its traceback what only a mistake in the adapter explains, unless the same line raised it lately."""
        raised_at = [(frame.f_code.co_filename, line) for frame, line in walk_tb(exc.__traceback__ if exc else None)]
        silent = self.failed((message, type(exc), *raised_at[-1:]))
        if silent is not None:
            logger.error("%s", message, exc_info=exc, extra={"event_fields": {"silent": silent}})


class _Formatter(logging.Formatter):
    def __init__(self, format: str) -> None:
        super().__init__()
        self._render = _json if format == "json" else _logfmt

    def format(self, record: logging.LogRecord) -> str:
        _secrets.learn()
        fields: dict[str, object] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
            "level": record.levelname.lower().replace("warning", "warn"),
            "component": record.name.removeprefix(f"{_PACKAGE}."),
            "msg": _text(record.getMessage(), MAX_FIELD),
        }
        for name, value in getattr(record, "event_fields", {}).items():
            fields[f"{name}_" if name in fields else name] = _value(value)
        if record.exc_info and record.exc_info[0]:
            fields["traceback"] = _text(self.formatException(record.exc_info), MAX_TRACEBACK)
        return self._render(fields)


def _value(value: object) -> object:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= 64 else f"a number of {value.bit_length()} bits"
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)  # JSON knows no NaN
    if isinstance(value, bytes):
        value = value.decode(errors="backslashreplace")
    elif isinstance(value, BaseException):
        value = f"{type(value).__name__}: {value}"
    return _text(str(value), MAX_FIELD)


def _text(text: str, most: int) -> str:
    """Secrets go before the text is clipped, or half of one could be left at the end. Its head is all that is read."""
    text = _secrets.redact(text[: most + _SEARCHED])
    return text if len(text) <= most else text[: most - 1] + "…"


def _logfmt(fields: dict[str, object]) -> str:
    return " ".join(f"{name}={_logfmt_value(value)}" for name, value in fields.items())


def _logfmt_value(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if text.isprintable() and _PLAIN.fullmatch(text):
        return text
    return _printable(json.dumps(text, ensure_ascii=False))


def _json(fields: dict[str, object]) -> str:
    return _printable(json.dumps(fields, ensure_ascii=False, separators=(",", ":")))


def _printable(text: str) -> str:
    """JSON text -> the same JSON, with what does not print as escapes."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


class _Secrets:
    """The values to keep out of the lines: the current ones, and for a while those they replaced."""

    def __init__(self) -> None:
        self._registered: weakref.WeakSet[Secret] = weakref.WeakSet()
        self._values: deque[str] = deque(maxlen=256)
        self.redact = Redactor((), _MARK)

    def register(self, secret: Secret) -> None:
        self._registered.add(secret)
        self.learn()

    def learn(self) -> None:
        """Take in rotated values; compile only when there is a new one."""
        current = {secret.get() for secret in self._registered}
        new = [value for value in current if value not in self._values and len(value) >= _SHORTEST_SECRET]
        if new:
            self._values.extend(new)
            self.redact = Redactor(self._values, _MARK)


_secrets: Final = _Secrets()
