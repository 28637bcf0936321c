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
from typing import Any, Final

import bcrypt

from adapter.errors import ConfigError, Finding
from adapter.web.tls import CIPHERS, CURVES, VERSIONS, Tls, TlsProblem, build, client_auth
from adapter.web.walk import Walk
from adapter.yamlfile import Loc, YamlFile, nearest, read

_SECTIONS: Final = ("tls_server_config", "http_server_config", "basic_auth_users", "rate_limit")
_TLS_KEYS: Final = (
    "cert", "cert_file", "key", "key_file", "client_ca", "client_ca_file", "client_auth_type", "client_allowed_sans",
    "min_version", "max_version", "cipher_suites", "prefer_server_cipher_suites", "curve_preferences",
)  # fmt: skip
_ENABLES_TLS: Final = ("cert", "cert_file", "key", "key_file", "client_ca", "client_ca_file", "client_auth_type")
_HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "Content-Security-Policy": (),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-Content-Type-Options": ("nosniff",),
    "X-XSS-Protection": (),
    "Strict-Transport-Security": (),
}
_BCRYPT: Final = re.compile(r"\$2[aby]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}")


Stamp = tuple[int, int, int] | None
"""Time of change, inode and size of a file; None when there is none."""


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


def stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


class _Reader:
    """Walks one file's data; whatever is wrong is noted and the walk goes on."""

    def __init__(self, file: YamlFile, folder: Path) -> None:
        self._walk = Walk(file, hidden=(("basic_auth_users",), ("tls_server_config", "key")))
        self._folder = folder
        self.stamps: list[tuple[Path, Stamp]] = []
        self._digest = hashlib.blake2b("\n".join(file.lines).encode(errors="surrogatepass"))

    @property
    def findings(self) -> list[Finding]:
        return self._walk.findings

    def config(self) -> WebConfig:
        sections = self._walk.mapping((), _SECTIONS)
        tls = self._tls() if "tls_server_config" in sections else None
        headers = self._headers() if "http_server_config" in sections else {}
        users = self._users() if "basic_auth_users" in sections else {}
        rate = self._rate_limit() if "rate_limit" in sections else None
        return WebConfig(tls, MappingProxyType(headers), MappingProxyType(users), rate, self._digest.digest())

    def _tls(self) -> Tls | None:
        at = ("tls_server_config",)
        keys = self._walk.mapping(at, _TLS_KEYS)
        if not any(keys.get(key) for key in _ENABLES_TLS):
            if keys:
                self._walk.note(at, "these settings have no effect without a certificate", "add cert_file and key_file")
            return None
        before = len(self._walk.findings)
        cert, key = self._pem(at, keys, "cert"), self._pem(at, keys, "key")
        for name, pem in (("cert", cert), ("key", key)):
            if pem is None and len(self._walk.findings) == before:
                self._walk.note(at, f"{name}_file is missing", "TLS needs cert_file and key_file")
        client_ca = self._pem(at, keys, "client_ca")
        auth = self._client_auth(at, keys, client_ca)
        suites = [
            self._walk.word((*at, "cipher_suites", i), CIPHERS) for i in self._walk.items((*at, "cipher_suites"), keys)
        ]
        sans = [
            self._walk.text((*at, "client_allowed_sans", i))
            for i in self._walk.items((*at, "client_allowed_sans"), keys)
        ]
        if "client_allowed_sans" in keys and auth != "required":
            self._walk.note(
                (*at, "client_allowed_sans"),
                "has no effect unless every client shows a certificate",
                "set client_auth_type: RequireAndVerifyClientCert",
            )
        tls = Tls(
            cert=cert or b"",
            key=key or b"",
            client_ca=client_ca,
            client_auth=auth,
            allowed_sans=frozenset(sans) if "client_allowed_sans" in keys else None,
            min_version=self._version((*at, "min_version"), keys, "TLS12"),
            max_version=self._version((*at, "max_version"), keys, "TLS13"),
            cipher_suites=tuple(suites),
            prefer_server_ciphers=self._walk.flag((*at, "prefer_server_cipher_suites"), keys, True),
            curve=self._curve((*at, "curve_preferences"), keys),
        )
        if len(self._walk.findings) == before:
            self._try(tls, at, keys)
        return tls

    def _try(self, tls: Tls, at: Loc, keys: Mapping[str, Any]) -> None:
        try:
            build(tls)
        except TlsProblem as exc:
            key = next((key for key in (f"{exc.part}_file", exc.part) if key in keys), None)
            self._walk.note((*at, key) if key else at, str(exc))

    def _client_auth(self, at: Loc, keys: Mapping[str, Any], client_ca: bytes | None) -> str:
        if "client_auth_type" not in keys:
            auth = "none"
        else:
            try:
                auth = client_auth(self._walk.text((*at, "client_auth_type")))
            except TlsProblem as exc:
                self._walk.note((*at, "client_auth_type"), str(exc), exc.hint)
                return "none"
        if client_ca is not None and auth == "none":
            where = (*at, "client_ca_file" if "client_ca_file" in keys else "client_ca")
            self._walk.note(where, "has no effect", "set client_auth_type: RequireAndVerifyClientCert")
        if client_ca is None and auth != "none" and "client_ca_file" not in keys and "client_ca" not in keys:
            # Go would then trust every authority of the system: whoever can buy a certificate could come in.
            self._walk.note(
                (*at, "client_auth_type"), "needs the authority that signs the clients", "add client_ca_file"
            )
        return auth

    def _pem(self, at: Loc, keys: Mapping[str, Any], name: str) -> bytes | None:
        inline, from_file = keys.get(name), keys.get(f"{name}_file")
        if inline and from_file:
            self._walk.note((*at, name), f"{name} and {name}_file exclude each other", "keep one of them")
        elif from_file:
            return self._read((*at, f"{name}_file"))
        elif inline:
            return self._walk.text((*at, name)).encode()
        return None

    def _read(self, loc: Loc) -> bytes | None:
        name = self._walk.text(loc)
        path = self._folder / name
        self.stamps.append((path, stamp(path)))
        try:
            data = path.read_bytes()
        except OSError as exc:
            self._walk.note(loc, f"{name} cannot be read: {exc.strerror or exc}")
            return None
        self._digest.update(hashlib.blake2b(data).digest())
        return data

    def _version(self, loc: Loc, keys: Mapping[str, Any], default: str) -> str:
        if loc[-1] not in keys:
            return default
        if keys[str(loc[-1])] in ("TLS10", "TLS11"):
            self._walk.note(loc, "TLS 1.0 and 1.1 are not spoken here", "use TLS12 or TLS13")
            return default
        return self._walk.word(loc, VERSIONS) or default

    def _curve(self, loc: Loc, keys: Mapping[str, Any]) -> str | None:
        curves = [self._walk.word((*loc, index), CURVES) for index in self._walk.items(loc, keys)]
        if len(curves) > 1:
            self._walk.note(
                loc, "only one curve can be chosen here", "name one, or leave it out for OpenSSL's own order"
            )
        return curves[0] if curves else None

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
