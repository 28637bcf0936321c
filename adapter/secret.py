"""Secrets: given by value or by file, printed as `<secret>`, re-read when the file rotates, and redacted from text."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase
from urllib.parse import quote, quote_plus

from adapter.errors import AdapterError
from adapter.files import MAX_SECRET_BYTES, content

_FOLD = str.maketrans(ascii_uppercase, ascii_lowercase)

# A signature is good for 15 minutes and a Basic credential for ever; an answer may echo our headers.
_ECHOED = re.compile(r"(Signature=)[0-9a-fA-F]{16,}|((?:Basic|Bearer)\s+)[A-Za-z0-9+/=._~-]{8,}")


class Secret:
    """Text that must not be seen. A file's trailing line end is not part of it."""

    def __init__(self, *, value: str = "", path: Path | None = None) -> None:
        """ValueError, without the path, when the file cannot be read or is empty."""
        self.path = path
        self._value = value if path is None else _read(path)

    def get(self) -> str:
        return self._value

    def refresh(self) -> bool:
        """Read the file again; True when the secret changed. An unreadable or empty file leaves it as it was."""
        if self.path is None:
            return False
        try:
            value = _read(self.path)
        except ValueError:
            return False
        changed, self._value = value != self._value, value
        return changed

    def reread(self) -> str:
        """As its file holds it now."""
        self.refresh()
        return self._value

    def __repr__(self) -> str:
        return "<secret>"

    __str__ = __repr__

    def __reduce__(self) -> tuple[object, ...]:
        raise AdapterError("a secret is not to be serialised")


def _read(path: Path) -> str:
    try:
        value = content(path, MAX_SECRET_BYTES).decode().strip("\r\n")
    except UnicodeDecodeError:
        value = ""
    except OSError as exc:
        raise ValueError(f"cannot be read: {exc.strerror}") from exc
    if not value:
        raise ValueError("is empty or not UTF-8 text")
    return value


class Redactor:
    """Replaces each secret in a text that others wrote, in every usual spelling, also where the text's end cuts it."""

    def __init__(self, secrets: Iterable[str], mark: str) -> None:
        self._mark = mark
        # Some proxies change the case of URLs and headers. Only ASCII is folded, so that no length changes.
        spellings = {spelling.translate(_FOLD) for secret in secrets if secret for spelling in _spellings(secret)}
        self._longest_first = sorted(spellings, key=len, reverse=True)
        words = "|".join(re.escape(word) for word in self._longest_first)
        self._pattern = re.compile(words, re.IGNORECASE | re.ASCII) if words else None

    def __call__(self, text: str) -> str:
        if self._pattern is not None:
            text = self._without_cut_end(self._pattern.sub(self._mark, text))
        return _ECHOED.sub(lambda found: (found[1] or found[2]) + self._mark, text)

    def _without_cut_end(self, text: str) -> str:
        # Half an answer may end within a secret. Four characters reveal nothing.
        end = text[-len(self._longest_first[0]) :].translate(_FOLD)
        for word in self._longest_first:
            at = end.find(word[:5])
            while at >= 0:
                if word.startswith(end[at:]):
                    return text[: len(text) - len(end) + at] + self._mark
                at = end.find(word[:5], at + 1)
        return text


def _spellings(secret: str) -> set[str]:
    """How a secret looks inside a URL, a JSON text, a repr, HTML or a Basic credential."""
    quoted = {quote(secret, safe="~"), quote(secret), quote(secret, safe=""), quote_plus(secret)}
    in_json = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    slashed = {word.replace("/", "\\/") for word in in_json}
    encoded = base64.b64encode(secret.encode("utf-8", "surrogatepass")).decode()
    plain = {secret, secret.strip(), repr(secret)[1:-1], html.escape(secret), encoded}
    return (plain | quoted | in_json | slashed) - {""}
