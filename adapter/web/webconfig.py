"""The web config file: exporter-toolkit's format -> a frozen WebConfig, certificates read and tried.

The format is https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md. What Python's TLS
cannot do as that page says is refused with a finding, never done by halves; `http2` alone is accepted without effect
(HTTP/1.1 is what every client of that page speaks too). Relative paths count from the web config file's folder.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import bcrypt

from adapter.errors import ConfigError, Finding
from adapter.web.tls import CIPHERS, CURVES, VERSIONS, Tls, TlsProblem, build, client_auth
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
_DURATION: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_SECONDS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


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


def load_web_config(path: Path) -> WebConfig:
    """ConfigError with every finding when the file, or a certificate it names, cannot be used."""
    reader = _Reader(read(path), path.parent)
    config = reader.config()
    if reader.findings:
        raise ConfigError(reader.findings)
    return config


class _Reader:
    """Walks one file's data; whatever is wrong is noted and the walk goes on."""

    def __init__(self, file: YamlFile, folder: Path) -> None:
        self.file = file
        self.folder = folder
        self.findings: list[Finding] = list(file.findings)
        self._digest = hashlib.blake2b("\n".join(file.lines).encode(errors="surrogatepass"))

    def config(self) -> WebConfig:
        sections = self._mapping((), _SECTIONS)
        tls = self._tls() if "tls_server_config" in sections else None
        headers = self._headers() if "http_server_config" in sections else {}
        users = self._users() if "basic_auth_users" in sections else {}
        rate = self._rate_limit() if "rate_limit" in sections else None
        return WebConfig(tls, MappingProxyType(headers), MappingProxyType(users), rate, self._digest.digest())

    def _tls(self) -> Tls | None:
        at = ("tls_server_config",)
        keys = self._mapping(at, _TLS_KEYS)
        if not any(keys.get(key) for key in _ENABLES_TLS):
            if keys:
                self._note(at, "these settings have no effect without a certificate", "add cert_file and key_file")
            return None
        before = len(self.findings)
        cert, key = self._pem(at, keys, "cert"), self._pem(at, keys, "key")
        for name, pem in (("cert", cert), ("key", key)):
            if pem is None and len(self.findings) == before:
                self._note(at, f"{name}_file is missing", "TLS needs cert_file and key_file")
        client_ca = self._pem(at, keys, "client_ca")
        auth = self._client_auth(at, keys, client_ca)
        suites = [self._word((*at, "cipher_suites", i), CIPHERS) for i in self._items((*at, "cipher_suites"), keys)]
        sans = [self._text((*at, "client_allowed_sans", i)) for i in self._items((*at, "client_allowed_sans"), keys)]
        if "client_allowed_sans" in keys and auth != "required":
            self._note(
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
            prefer_server_ciphers=self._flag((*at, "prefer_server_cipher_suites"), keys, True),
            curve=self._curve((*at, "curve_preferences"), keys),
        )
        if len(self.findings) == before:
            self._try(tls, at, keys)
        return tls

    def _try(self, tls: Tls, at: Loc, keys: Mapping[str, Any]) -> None:
        try:
            build(tls)
        except TlsProblem as exc:
            key = next((key for key in (f"{exc.part}_file", exc.part) if key in keys), None)
            self._note((*at, key) if key else at, str(exc))

    def _client_auth(self, at: Loc, keys: Mapping[str, Any], client_ca: bytes | None) -> str:
        if "client_auth_type" not in keys:
            auth = "none"
        else:
            try:
                auth = client_auth(self._text((*at, "client_auth_type")))
            except TlsProblem as exc:
                self._note((*at, "client_auth_type"), str(exc), exc.hint)
                return "none"
        if client_ca is not None and auth == "none":
            where = (*at, "client_ca_file" if "client_ca_file" in keys else "client_ca")
            self._note(where, "has no effect", "set client_auth_type: RequireAndVerifyClientCert")
        if client_ca is None and auth != "none" and "client_ca_file" not in keys and "client_ca" not in keys:
            # Go would then trust every authority of the system: whoever can buy a certificate could come in.
            self._note((*at, "client_auth_type"), "needs the authority that signs the clients", "add client_ca_file")
        return auth

    def _pem(self, at: Loc, keys: Mapping[str, Any], name: str) -> bytes | None:
        inline, from_file = keys.get(name), keys.get(f"{name}_file")
        if inline and from_file:
            self._note((*at, name), f"{name} and {name}_file exclude each other", "keep one of them")
        elif from_file:
            return self._read((*at, f"{name}_file"))
        elif inline:
            return self._text((*at, name)).encode()
        return None

    def _read(self, loc: Loc) -> bytes | None:
        name = self._text(loc)
        try:
            data = (self.folder / name).read_bytes()
        except OSError as exc:
            self._note(loc, f"{name} cannot be read: {exc.strerror or exc}")
            return None
        self._digest.update(hashlib.blake2b(data).digest())
        return data

    def _version(self, loc: Loc, keys: Mapping[str, Any], default: str) -> str:
        if loc[-1] not in keys:
            return default
        if keys[str(loc[-1])] in ("TLS10", "TLS11"):
            self._note(loc, "TLS 1.0 and 1.1 are not spoken here", "use TLS12 or TLS13")
            return default
        return self._word(loc, VERSIONS) or default

    def _curve(self, loc: Loc, keys: Mapping[str, Any]) -> str | None:
        curves = [self._word((*loc, index), CURVES) for index in self._items(loc, keys)]
        if len(curves) > 1:
            self._note(loc, "only one curve can be chosen here", "name one, or leave it out for OpenSSL's own order")
        return curves[0] if curves else None

    def _headers(self) -> dict[str, str]:
        at = ("http_server_config",)
        keys = self._mapping(at, ("http2", "headers"))
        self._flag((*at, "http2"), keys, True)
        headers: dict[str, str] = {}
        for name in self._mapping((*at, "headers"), tuple(_HEADERS)) if "headers" in keys else {}:
            loc = (*at, "headers", name)
            value = self._text(loc, empty=True)
            allowed = _HEADERS.get(name, ())
            if allowed and value not in allowed:
                self._note(loc, f"must be {' or '.join(allowed)}", nearest(value, allowed))
            elif not value.isprintable():
                self._note(loc, "must be one line of printable text")
            elif value:
                headers[name] = value
        return headers

    def _users(self) -> dict[bytes, bytes]:
        users: dict[bytes, bytes] = {}
        for name in self._mapping(("basic_auth_users",), None):
            loc = ("basic_auth_users", name)
            hashed = self._text(loc)
            if not name or ":" in name:
                self._note(loc, "a user name is not empty and holds no colon", at_key=True)
            if hashed and not _is_bcrypt(hashed):
                # The source line is left out on purpose: somebody may have written the password itself.
                mark = self.file.mark(loc)
                message = "not a bcrypt hash of cost 4 to 31"
                self.findings.append(
                    Finding(self.file.name, mark.line, mark.col, message, "make one with htpasswd -nBC 10 ''")
                )
            users[name.encode()] = hashed.encode()
        return users

    def _rate_limit(self) -> RateLimit | None:
        keys = self._mapping(("rate_limit",), ("interval", "burst"))
        interval, burst = self._duration(("rate_limit", "interval"), keys), keys.get("burst", 0)
        if not isinstance(burst, int) or isinstance(burst, bool) or burst < 0:
            self._note(("rate_limit", "burst"), "must be a whole number, 0 or more")
        elif interval and not burst:
            self._note(("rate_limit",), "a burst of 0 would refuse every request", "set burst to 1 or more")
        elif interval:
            return RateLimit(interval, burst)
        return None

    def _duration(self, loc: Loc, keys: Mapping[str, Any]) -> float:
        """Seconds of a Go duration such as 1s, 500ms or 1m30s; 0 is none."""
        value = keys.get(str(loc[-1]), 0)
        text = str(value)
        parts = _DURATION.findall(text)
        if value is not None and text.strip("0") == "" and text:
            return 0.0
        if not parts or "".join(number + unit for number, unit in parts) != text:
            self._note(loc, "must be a duration", "such as 1s, 500ms or 1m30s")
            return 0.0
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)

    def _mapping(self, loc: Loc, known: tuple[str, ...] | None) -> Mapping[str, Any]:
        """The mapping at `loc`; nothing there is an empty one, and keys not `known` are noted."""
        value = self._at(loc)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self._note(loc, "must be a mapping of names to values")
            return {}
        for key in value if known is not None else ():
            if known is not None and key not in known:
                self._note((*loc, key), f"unknown key {key!r}", nearest(key, known), at_key=True)
        return value

    def _items(self, loc: Loc, keys: Mapping[str, Any]) -> range:
        value = keys.get(str(loc[-1]))
        if value is None:
            return range(0)
        if not isinstance(value, list):
            self._note(loc, "must be a list")
            return range(0)
        return range(len(value))

    def _text(self, loc: Loc, *, empty: bool = False) -> str:
        value = self._at(loc)
        if value is None and empty:
            return ""
        if not isinstance(value, str) or not (value or empty):
            self._note(loc, "must be text")
            return ""
        return value

    def _word(self, loc: Loc, known: Mapping[str, object]) -> str:
        value = self._text(loc)
        if value and value not in known:
            self._note(loc, f"{value!r} is not known here", nearest(value, list(known)) or f"known: {', '.join(known)}")
            return ""
        return value

    def _flag(self, loc: Loc, keys: Mapping[str, Any], default: bool) -> bool:
        value = keys.get(str(loc[-1]), default)
        if not isinstance(value, bool):
            self._note(loc, "must be true or false")
            return default
        return value

    def _at(self, loc: Loc) -> Any:
        value = self.file.data
        for part in loc:
            value = value[part]
        return value

    def _note(self, loc: Loc, message: str, hint: str = "", *, at_key: bool = False) -> None:
        self.findings.append(self.file.finding(loc, message, hint, at_key=at_key))


def _is_bcrypt(hashed: str) -> bool:
    if not _BCRYPT.fullmatch(hashed):
        return False
    try:
        bcrypt.checkpw(b"", f"{hashed[:4]}04{hashed[6:]}".encode())  # tries salt and digest at the lowest cost
    except ValueError:
        return False
    return True
