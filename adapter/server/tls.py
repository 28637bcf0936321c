"""Builds the SSLContext of a listener from the settings of `tls_server_config`.

A setting that cannot be used is a Problem at its name.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from adapter.validation import Problem

VERSIONS: Final = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
CLIENT_AUTH: Final = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
CIPHERS: Final = {  # Go's name -> OpenSSL's; those of TLS 1.3 are always offered, as in Go
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
_CERTIFICATES: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def server_context(
    *,
    cert_file: Path,
    key_file: Path,
    client_auth_type: str,
    client_ca_file: Path | None,
    min_version: str,
    cipher_suites: Sequence[str],
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = VERSIONS[min_version]
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    names = [CIPHERS[suite] for suite in cipher_suites if CIPHERS[suite]]
    if names:
        context.set_ciphers(":".join(names))
    elif cipher_suites:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    _load_certificate(context, cert_file, key_file)
    context.verify_mode = CLIENT_AUTH[client_auth_type]
    if client_ca_file:
        _load_authority(context, client_ca_file)
    return context


def _load_certificate(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    encrypted = False

    def passphrase() -> bytes:  # without it OpenSSL would ask on the terminal and wait
        nonlocal encrypted
        encrypted = True
        return b""

    try:
        context.load_cert_chain(cert, key, passphrase)
    except OSError as exc:
        if encrypted:
            raise Problem("key_file is encrypted; the adapter has no passphrase for it", at=("key_file",)) from None
        if isinstance(exc, ssl.SSLError) and exc.reason == "KEY_VALUES_MISMATCH":
            raise Problem("key_file is not the key of this certificate", at=("key_file",)) from None
        if b"-----BEGIN" not in cert.read_bytes():
            raise Problem("cert_file holds no certificate in PEM form", at=("cert_file",)) from None
        part = "cert_file" if b"PRIVATE KEY-----" in key.read_bytes() else "key_file"
        raise Problem(f"{part} cannot be used: {_reason(exc)}", at=(part,)) from None


def _load_authority(context: ssl.SSLContext, path: Path) -> None:
    blocks = _CERTIFICATES.findall(path.read_bytes())
    if not blocks:
        raise Problem("client_ca_file holds no certificate in PEM form", at=("client_ca_file",))
    try:
        context.load_verify_locations(cadata=b"\n".join(blocks).decode("ascii", "replace"))
    except (ssl.SSLError, ValueError) as exc:
        message = f"client_ca_file holds a certificate that cannot be used: {_reason(exc)}"
        raise Problem(message, at=("client_ca_file",)) from None
    # As in Go, every certificate in the file is trusted, that of an intermediate authority too.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN


def _reason(exc: Exception) -> str:
    reason = getattr(exc, "reason", None) or str(exc)
    return str(reason).replace("_", " ").lower()
