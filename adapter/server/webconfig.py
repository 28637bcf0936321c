"""The web config file: exporter-toolkit's format -> a frozen WebConfig, certificates read and tried.

The format is https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md. What Python's TLS
cannot do as that page says is refused with a finding, never done by halves; `http2` alone is accepted without effect
(HTTP/1.1 is what every client of that page speaks too). Relative paths count from the web config file's folder.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

import bcrypt

from adapter.errors import ConfigError, Finding
from adapter.server.tls import Tls
from adapter.server.tlssection import Stamp, TlsSection, stamp
from adapter.server.walk import Walk
from adapter.yamlfile import YamlFile, nearest, read

_SECTIONS: Final = ("tls_server_config", "http_server_config", "basic_auth_users", "rate_limit")
_HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "Content-Security-Policy": (),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-Content-Type-Options": ("nosniff",),
    "X-XSS-Protection": (),
    "Strict-Transport-Security": (),
}
_BCRYPT: Final = re.compile(r"\$2[aby]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}")


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A token bucket: one token every `interval` seconds, at most `burst` of them saved."""

    interval: float
    burst: int


@dataclass(frozen=True, slots=True)
class WebConfig:
    """One web config file as it stood; `digest` changes with it and with every file it names."""

    tls: Tls | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)  # user name -> bcrypt hash
    rate_limit: RateLimit | None = None
    digest: bytes = b""
    stamps: tuple[tuple[Path, Stamp], ...] = ()  # every file that was read, as it was just before

    def is_current(self) -> bool:
        """True while no file has been touched since; far cheaper than reading them."""
        return all(stamp(path) == before for path, before in self.stamps)


def load_web_config(path: Path) -> WebConfig:
    """ConfigError with every finding when the file, or a certificate it names, cannot be used."""
    before = stamp(path)
    reader = _Reader(read(path), path.parent)
    config = replace(reader.config(), stamps=((path, before), *reader.stamps))
    if reader.findings:
        raise ConfigError(reader.findings)
    return config


class _Reader:
    """Walks one file's data; whatever is wrong is noted and the walk goes on."""

    def __init__(self, file: YamlFile, folder: Path) -> None:
        self._walk = Walk(file, hidden=(("basic_auth_users",), ("tls_server_config", "key")))
        self._tls = TlsSection(self._walk, folder)
        self._digest = hashlib.blake2b("\n".join(file.lines).encode(errors="surrogatepass"))

    @property
    def findings(self) -> list[Finding]:
        return self._walk.findings

    @property
    def stamps(self) -> list[tuple[Path, Stamp]]:
        return self._tls.stamps

    def config(self) -> WebConfig:
        sections = self._walk.mapping((), _SECTIONS)
        tls = self._tls.read() if "tls_server_config" in sections else None
        for digest in self._tls.digests:
            self._digest.update(digest)
        headers = self._headers() if "http_server_config" in sections else {}
        users = self._users() if "basic_auth_users" in sections else {}
        rate = self._rate_limit() if "rate_limit" in sections else None
        return WebConfig(tls, MappingProxyType(headers), MappingProxyType(users), rate, self._digest.digest())

    def _headers(self) -> dict[str, str]:
        at = ("http_server_config",)
        keys = self._walk.mapping(at, ("http2", "headers"))
        self._walk.flag((*at, "http2"), keys, True)
        headers: dict[str, str] = {}
        for name in self._walk.mapping((*at, "headers"), tuple(_HEADERS)) if "headers" in keys else {}:
            loc = (*at, "headers", name)
            value = self._walk.text(loc, empty=True)
            allowed = _HEADERS.get(name, ())
            if allowed and value not in allowed:
                self._walk.note(loc, f"must be {' or '.join(allowed)}", nearest(value, allowed))
            elif not value.isprintable():
                self._walk.note(loc, "must be one line of printable text")
            elif value:
                headers[name] = value
        return headers

    def _users(self) -> dict[bytes, bytes]:
        users: dict[bytes, bytes] = {}
        for name in self._walk.mapping(("basic_auth_users",), None):
            loc = ("basic_auth_users", name)
            hashed = self._walk.text(loc)
            if not name or ":" in name:
                self._walk.note(loc, "a user name is not empty and holds no colon", at_key=True)
            if hashed and not _is_bcrypt(hashed):
                self._walk.note(loc, "not a bcrypt hash of cost 4 to 31", "make one with htpasswd -nBC 10 ''")
            users[name.encode()] = hashed.encode()
        return users

    def _rate_limit(self) -> RateLimit | None:
        keys = self._walk.mapping(("rate_limit",), ("interval", "burst"))
        interval, burst = self._walk.duration(("rate_limit", "interval"), keys), keys.get("burst", 0)
        if not isinstance(burst, int) or isinstance(burst, bool) or burst < 0:
            self._walk.note(("rate_limit", "burst"), "must be a whole number, 0 or more")
        elif interval and not burst:
            self._walk.note(("rate_limit",), "a burst of 0 would refuse every request", "set burst to 1 or more")
        elif interval:
            return RateLimit(interval, burst)
        return None


def _is_bcrypt(hashed: str) -> bool:
    if not _BCRYPT.fullmatch(hashed):
        return False
    try:
        bcrypt.checkpw(b"", f"{hashed[:4]}04{hashed[6:]}".encode())  # tries salt and digest at the lowest cost
    except ValueError:
        return False
    return True
