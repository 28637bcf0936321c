"""`tls_server_config` of the web config file -> Tls, its certificates read and tried."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from adapter.server.tls import CIPHERS, CURVES, VERSIONS, Tls, TlsProblem, build, client_auth
from adapter.server.walk import Walk
from adapter.yamlfile import Loc

_TLS_KEYS: Final = (
    "cert", "cert_file", "key", "key_file", "client_ca", "client_ca_file", "client_auth_type", "client_allowed_sans",
    "min_version", "max_version", "cipher_suites", "prefer_server_cipher_suites", "curve_preferences",
)  # fmt: skip
_ENABLES_TLS: Final = ("cert", "cert_file", "key", "key_file", "client_ca", "client_ca_file", "client_auth_type")

Stamp = tuple[int, int, int] | None
"""Time of change, inode and size of a file; None when there is none."""


def stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


class TlsSection:
    """`stamps` and `digests` are those of every file that was read; a stamp is taken just before."""

    def __init__(self, walk: Walk, folder: Path) -> None:
        """Relative paths count from `folder`."""
        self._walk, self._folder = walk, folder
        self.stamps: list[tuple[Path, Stamp]] = []
        self.digests: list[bytes] = []

    def read(self) -> Tls | None:
        """None where nothing asks for TLS; what is wrong is noted in the walk."""
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
        self.digests.append(hashlib.blake2b(data).digest())
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
