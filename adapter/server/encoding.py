"""Content encodings and charsets of request bodies: what is accepted, unpacked in blocks and made UTF-8."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import Final

from adapter.errors import AdapterError

BLOCK: Final = 64 * 1024  # bytes that are unpacked in one go

_PLAIN: Final = ("", "identity")
_GZIP: Final = ("gzip", "x-gzip")
_BY_AIOHTTP: Final = ("gzip", "deflate")
_WITH_GZIP_HEADER: Final = 31
_WITHOUT_HEADER: Final = -15
_CHARSET: Final = re.compile(r"""\bcharset\s*=[\s"']*([^\s"';,]+)""", re.IGNORECASE)
_UTF_8: Final = ("", "utf-8", "utf8")
_CHARSETS: Final = {
    **dict.fromkeys(("gbk", "gb2312", "gb18030", "cp936"), "gb18030"),  # each contains those before it
    **{label: label for label in ("big5", "shift_jis", "euc-jp", "euc-kr", "koi8-r", "us-ascii")},
    **{label: label for label in ("utf-16", "utf-16le", "utf-16be", "iso-8859-1", "iso-8859-15")},
    **{f"windows-{page}": f"cp{page}" for page in (1250, 1251, 1252)},
}
"""Label -> Python's codec; a closed list, for Python also knows codecs that are no charsets."""


class NotAccepted(AdapterError):
    """The body is in an encoding or charset that is not accepted, or not in the one that it declares."""


def is_plain(encoding: str) -> bool:
    return encoding in _PLAIN


class Unpacker:
    """Unpacks a body that comes in pieces; NotAccepted, also from its methods, says why it cannot be unpacked."""

    def __init__(self, encoding: str, *, unpacked: bool = False) -> None:
        """`unpacked`: aiohttp has done it, unless it is configured not to."""
        if encoding not in (*_PLAIN, *_GZIP, "deflate"):
            raise NotAccepted("this content encoding is not accepted; send gzip, deflate or none")
        self._encoding = "" if unpacked and encoding in _BY_AIOHTTP else encoding
        self._stream: zlib._Decompress | None = None

    def unpack(self, piece: bytes) -> Iterator[bytes]:
        """What is in a piece, in blocks of at most BLOCK bytes, empty ones too; where nothing is packed, the piece."""
        if is_plain(self._encoding):
            yield piece
            return
        while piece:
            if self._stream is None or self._stream.eof:  # gzip may be several streams in a row
                self._stream = zlib.decompressobj(self._window(piece))
            try:
                block = self._stream.decompress(piece, BLOCK)
            except zlib.error as exc:
                raise NotAccepted(f"the body is not {self._encoding}, as its Content-Encoding says") from exc
            yield block
            piece = self._stream.unconsumed_tail or self._stream.unused_data

    def end(self) -> None:
        if self._stream is not None and not self._stream.eof:
            raise NotAccepted(f"the body ends in the middle of its {self._encoding} data")

    def _window(self, piece: bytes) -> int:
        if self._encoding in _GZIP:
            return _WITH_GZIP_HEADER
        return zlib.MAX_WBITS if piece[0] & 0xF == zlib.DEFLATED else _WITHOUT_HEADER  # many senders leave it out


def charset_of(content_type: str) -> str:
    """The charset that a Content-Type declares, in lower case and without quotes; empty without one."""
    found = _CHARSET.search(content_type)
    return found[1].lower() if found else ""


def is_utf_8(charset: str) -> bool:
    return charset in _UTF_8


def to_utf_8(body: bytes, charset: str) -> bytes:
    """NotAccepted where the charset is not known, or the body is not in it."""
    codec = _CHARSETS.get(charset)
    if codec is None:
        raise NotAccepted(f"the charset {charset[:40]!r} is not accepted; send UTF-8")
    try:
        return body.decode(codec).encode()
    except UnicodeError as exc:
        raise NotAccepted(f"the body is not in {charset}, the charset that it declares; send UTF-8") from exc
