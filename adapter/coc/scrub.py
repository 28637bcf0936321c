"""PURE: taking secrets out of text that others wrote, in every spelling they may have given them."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable
from string import ascii_lowercase, ascii_uppercase
from urllib.parse import quote, quote_plus

MARK = "[secret]"  # not in angle brackets: HTML is shown without what looks like a tag

_FOLD = str.maketrans(ascii_uppercase, ascii_lowercase)

# A signature is good for 15 minutes and a Basic credential for ever; an answer may echo our headers.
_ECHOED = re.compile(r"(Signature=)[0-9a-fA-F]{16,}|((?:Basic|Bearer)\s+)[A-Za-z0-9+/=._~-]{8,}")


class Scrubber:
    """text -> the text with each secret replaced by `[secret]`, also one that the end of the text cuts off."""

    def __init__(self, secrets: Iterable[str]) -> None:
        # Whatever its case: some proxies fold that of URLs and headers. Only of ASCII, where no length changes.
        spellings = {spelling.translate(_FOLD) for secret in secrets if secret for spelling in _spellings(secret)}
        self._longest_first = sorted(spellings, key=len, reverse=True)
        words = "|".join(re.escape(word) for word in self._longest_first)
        self._pattern = re.compile(words, re.IGNORECASE | re.ASCII) if words else None

    def __call__(self, text: str) -> str:
        if self._pattern is not None:
            text = self._without_cut_end(self._pattern.sub(MARK, text))
        return _ECHOED.sub(lambda found: (found[1] or found[2]) + MARK, text)

    def __repr__(self) -> str:
        return "<Scrubber>"

    def _without_cut_end(self, text: str) -> str:
        # Half an answer may end within a secret. Four characters give nothing away.
        end = text[-len(self._longest_first[0]) :].translate(_FOLD)
        for word in self._longest_first:
            if word[:5] not in end:
                continue
            for length in range(min(len(word) - 1, len(end)), 4, -1):
                if end.endswith(word[:length]):
                    return text[:-length] + MARK
        return text


def _spellings(secret: str) -> set[str]:
    escaped = quote(secret, safe="~")
    quoted = {escaped, quote(secret), quote_plus(secret)}
    in_json = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    slashed = {word.replace("/", "\\/") for word in in_json}
    encoded = base64.b64encode(secret.encode("utf-8", "surrogatepass")).decode()
    return {secret, repr(secret)[1:-1], html.escape(secret), encoded} | quoted | in_json | slashed
