"""TLS of a listener: settings -> an SSLContext, exchanged whole when the files change.

A listener is given one `LiveContext` for life. Each new connection is made by the context that is current at that
moment, so certificates, authorities and versions rotate together and connections that are open stay as they are.
"""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, cast

VERSIONS: Final = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
CURVES: Final = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}
CIPHERS: Final = {  # Go's name -> OpenSSL's; TLS 1.3 suites are always all offered, as in Go
    "TLS_AES_128_GCM_SHA256": "",
    "TLS_AES_256_GCM_SHA384": "",
    "TLS_CHACHA20_POLY1305_SHA256": "",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
}
_MODES: Final = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
_CLIENT_AUTH: Final = {
    "NoClientCert": "none",
    "VerifyClientCertIfGiven": "optional",
    "RequireAndVerifyClientCert": "required",
}
_CERTIFICATES: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_UNVERIFIED: Final = ("RequestClientCert", "RequireAnyClientCert", "RequireClientCert")


class TlsProblem(Exception):
    """A setting cannot be used; `part` is cert, key, client_ca or the name of another setting."""

    def __init__(self, part: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.part = part
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Tls:
    """What tls_server_config says, with the PEM bytes read."""

    cert: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None = None
    client_auth: str = "none"  # none | optional | required
    allowed_sans: frozenset[str] | None = None  # None: any client the authority has signed
    min_version: str = "TLS12"
    max_version: str = "TLS13"
    cipher_suites: tuple[str, ...] = ()  # Go's names
    prefer_server_ciphers: bool = True
    curve: str | None = None


def client_auth(name: str) -> str:
    """none, optional or required for one of Go's ClientAuthType names; TlsProblem for those Python cannot do."""
    if name in _UNVERIFIED:
        raise TlsProblem(
            "client_auth_type",
            f"{name} takes certificates that nobody has verified, which is not possible here",
            "use RequireAndVerifyClientCert or VerifyClientCertIfGiven",
        )
    if name not in _CLIENT_AUTH:
        raise TlsProblem("client_auth_type", f"{name!r} is not known here", f"known: {', '.join(_CLIENT_AUTH)}")
    return _CLIENT_AUTH[name]


def build(tls: Tls) -> ssl.SSLContext:
    """A server context; TlsProblem names the setting that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if VERSIONS[tls.min_version] > VERSIONS[tls.max_version]:
        raise TlsProblem("min_version", "min_version is above max_version")
    context.minimum_version, context.maximum_version = VERSIONS[tls.min_version], VERSIONS[tls.max_version]
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    if tls.prefer_server_ciphers:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    _choose_ciphers(context, tls)
    if tls.curve:
        context.set_ecdh_curve(CURVES[tls.curve])
    _load_certificate(context, tls)
    _load_authority(context, tls)
    return context


def _choose_ciphers(context: ssl.SSLContext, tls: Tls) -> None:
    if not tls.cipher_suites:
        return
    names = [CIPHERS[suite] for suite in tls.cipher_suites if CIPHERS[suite]]
    if names:
        context.set_ciphers(":".join(names))
    elif tls.max_version == "TLS12":
        raise TlsProblem("cipher_suites", "none of these suites exists in TLS 1.2")
    else:
        context.minimum_version = ssl.TLSVersion.TLSv1_3


def _load_certificate(context: ssl.SSLContext, tls: Tls) -> None:
    encrypted = False

    def passphrase() -> bytes:  # without it OpenSSL would ask on the terminal and wait
        nonlocal encrypted
        encrypted = True
        return b""

    if b"-----BEGIN" not in tls.cert:
        raise TlsProblem("cert", "holds no certificate in PEM form")
    try:
        with _as_file(tls.cert) as cert, _as_file(tls.key) as key:
            context.load_cert_chain(cert, key, passphrase)
    except ssl.SSLError as exc:
        if encrypted:
            raise TlsProblem("key", "is encrypted; the adapter has no passphrase for it") from None
        if exc.reason == "KEY_VALUES_MISMATCH":
            raise TlsProblem("key", "is not the key of this certificate") from None
        part = "cert" if b"PRIVATE KEY-----" in tls.key else "key"
        raise TlsProblem(part, f"cannot be used: {_reason(exc)}") from None


def _load_authority(context: ssl.SSLContext, tls: Tls) -> None:
    context.verify_mode = _MODES[tls.client_auth]
    if tls.client_ca is None:
        return
    blocks = _CERTIFICATES.findall(tls.client_ca)
    if not blocks:
        raise TlsProblem("client_ca", "holds no certificate in PEM form")
    try:
        context.load_verify_locations(cadata=b"\n".join(blocks).decode("ascii", "replace"))
    except (ssl.SSLError, ValueError) as exc:
        raise TlsProblem("client_ca", f"holds a certificate that cannot be used: {_reason(exc)}") from None
    # As in Go, whatever stands in the file is trusted, an intermediate authority too.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if tls.allowed_sans is not None:
        context.sslobject_class = _only_names(tls.allowed_sans)


def _reason(exc: Exception) -> str:
    reason = getattr(exc, "reason", None) or str(exc)
    return str(reason).replace("_", " ").lower()


def _only_names(allowed: frozenset[str]) -> type[ssl.SSLObject]:
    """A connection whose handshake fails unless the client's certificate carries one of the names."""

    class Checked(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            names = _names(cast("dict[str, Any]", self.getpeercert() or {}))
            if not names & allowed:
                raise ssl.SSLCertVerificationError("the client's certificate carries none of client_allowed_sans")

    return Checked


def _names(certificate: dict[str, Any]) -> set[str]:
    """The subject alternative names of a certificate that getpeercert() has decoded; addresses in canonical form."""
    names = set()
    for kind, value in certificate.get("subjectAltName", ()):
        if kind == "IP Address":
            value = str(ipaddress.ip_address(value.strip()))
        if kind in ("DNS", "IP Address", "email", "URI"):
            names.add(value)
    return names


class LiveContext(ssl.SSLContext):
    """Hands every new connection to the context that is current; asyncio and uvloop call nothing but wrap_bio."""

    current: ssl.SSLContext

    def __new__(cls, current: ssl.SSLContext) -> LiveContext:
        live = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        live.current = current
        return live

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        return self.current.wrap_bio(*args, **kwargs)


@contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """A path under which `data` can be read for a moment; in memory where the system can, so no key meets a disk."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("pem")
        try:
            os.write(handle, data)
            yield f"/proc/self/fd/{handle}"
        finally:
            os.close(handle)
    else:
        with tempfile.NamedTemporaryFile() as file:  # readable by this user only
            file.write(data)
            file.flush()
            yield file.name
