"""The web config file (`--web.config.file`): TLS, users and headers, in the format of the exporter-toolkit.

The format is https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md. A setting that is
not supported is refused with a finding; only `http2` is accepted without effect, because every client that speaks it
speaks HTTP/1.1 too.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self

import bcrypt
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationInfo,
    model_validator,
)

from adapter.files import MAX_BYTES, content
from adapter.validation import Problem, Problems, validate_whole
from adapter.yamlfile import nearest, read

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
_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"
_END: Final = b"-----END CERTIFICATE-----"
_BCRYPT: Final = re.compile(r"\$2[aby]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}")

Stamp = tuple[int, int, int] | None
"""Time of change, inode and size of a file; None when there is none."""


def stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


@dataclass(frozen=True, slots=True)
class WebConfig:
    """A web config file, with the certificates read that it names."""

    tls: ssl.SSLContext | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)  # user name -> bcrypt hash
    stamps: Mapping[Path, Stamp] = field(default_factory=dict)  # of this file and of those that it names

    @property
    def authenticates(self) -> bool:
        """True when every client needs a password or a certificate."""
        return bool(self.users) or (self.tls is not None and self.tls.verify_mode == ssl.CERT_REQUIRED)

    def is_current(self) -> bool:
        """False once one of the files has changed."""
        return all(stamp(path) == before for path, before in self.stamps.items())


def load_web_config(path: Path) -> WebConfig:
    """ConfigError with every finding when the file, or a certificate it names, cannot be used."""
    files = _Files(path.parent, {path: stamp(path)})
    config = validate_whole(read(path, secret=True), _WebConfigFile, files)
    tls, http = config.tls_server_config, config.http_server_config
    return WebConfig(
        tls=tls.context if tls else None,
        headers=http.headers.model_dump(by_alias=True, exclude_none=True) if http and http.headers else {},
        users={name.encode(): hashed.encode() for name, hashed in (config.basic_auth_users or {}).items()},
        stamps=files.stamps,
    )


@dataclass(frozen=True, slots=True)
class _Files:
    """What the validators get beside the data. They note the stamp of each file just before they read it."""

    folder: Path
    stamps: dict[Path, Stamp] = field(default_factory=dict)


class _Section(BaseModel):
    """A mapping of the web config file. `not_supported`: what the exporter-toolkit knows and the adapter refuses."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    not_supported: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, data: Any) -> Any:
        refused = [key for key in cls.not_supported if isinstance(data, dict) and key in data]
        if refused:
            hint = "SECURITY.md lists the settings that are"
            raise Problems([Problem(f"{key} is not supported", hint, at=(key,), at_key=True) for key in refused])
        return data


def _readable(value: Any, info: ValidationInfo[_Files]) -> Path:
    if not isinstance(value, str) or not value:
        raise Problem(f"{info.field_name} must be the path of a file")
    path = info.context.folder / value
    info.context.stamps[path] = stamp(path)
    try:
        content(path, MAX_BYTES)
    except OSError as exc:
        raise Problem(f"{info.field_name} cannot be read: {exc.strerror or exc}") from None
    return path


def _one_of(known: Collection[str]) -> AfterValidator:
    def check(value: str) -> str:
        if value not in known:
            hint = nearest(value, list(known)) or f"known are {', '.join(known)}"
            raise Problem(f"{value!r} is not supported", hint)
        return value

    return AfterValidator(check)


_PemFile = Annotated[Path, BeforeValidator(_readable)]
_NEEDED: Final = Field(description="TLS needs cert_file and key_file")


class _TlsServerConfig(_Section):
    model_config = ConfigDict(title="tls_server_config")
    not_supported = (
        "cert", "key", "client_ca", "client_allowed_sans", "max_version", "prefer_server_cipher_suites",
        "curve_preferences",
    )  # fmt: skip

    cert_file: _PemFile = _NEEDED
    key_file: _PemFile = _NEEDED
    client_auth_type: Annotated[str, _one_of(CLIENT_AUTH)] = "NoClientCert"
    client_ca_file: _PemFile | None = None
    min_version: Annotated[str, _one_of(VERSIONS)] = "TLS12"
    cipher_suites: list[Annotated[str, _one_of(CIPHERS)]] = []
    _context: ssl.SSLContext = PrivateAttr()

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.client_ca_file and self.client_auth_type == "NoClientCert":
            hint = "set client_auth_type: RequireAndVerifyClientCert"
            raise Problem("client_ca_file has no effect", hint, at=("client_ca_file",))
        if not self.client_ca_file and self.client_auth_type != "NoClientCert":
            # Go would trust every authority of the system, so that anybody who can buy a certificate could come in.
            message = f"{self.client_auth_type} needs the authority that signs the clients"
            raise Problem(message, "add client_ca_file", at=("client_auth_type",))
        try:
            self._context = _server_context(self)
        except OSError as exc:
            raise Problem(f"a file cannot be read: {exc.strerror or exc}") from None
        return self

    @property
    def context(self) -> ssl.SSLContext:
        return self._context


def _server_context(config: _TlsServerConfig) -> ssl.SSLContext:
    """Problem at the name of a setting that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = VERSIONS[config.min_version]
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    names = [CIPHERS[suite] for suite in config.cipher_suites if CIPHERS[suite]]
    if names:
        context.set_ciphers(":".join(names))
    elif config.cipher_suites:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    _load_certificate(context, config.cert_file, config.key_file)
    context.verify_mode = CLIENT_AUTH[config.client_auth_type]
    if config.client_ca_file:
        _load_authority(context, config.client_ca_file)
    return context


def _load_certificate(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    encrypted = False

    def passphrase() -> bytes:  # without it OpenSSL would ask on the terminal and wait
        nonlocal encrypted
        encrypted = True
        return b""

    if b"-----BEGIN" not in content(cert, MAX_BYTES):
        raise Problem("cert_file holds no certificate in PEM form", at=("cert_file",))
    whole = b"PRIVATE KEY-----" in content(key, MAX_BYTES)
    try:
        # A file of /proc, empty for us, is one that OpenSSL would wait for.
        context.load_cert_chain(cert, key if whole else os.devnull, passphrase)
    except OSError as exc:
        if encrypted:
            raise Problem("key_file is encrypted; the adapter has no passphrase for it", at=("key_file",)) from None
        if isinstance(exc, ssl.SSLError) and exc.reason == "KEY_VALUES_MISMATCH":
            raise Problem("key_file is not the key of this certificate", at=("key_file",)) from None
        part = "cert_file" if whole else "key_file"
        raise Problem(f"{part} cannot be used: {_reason(exc)}", at=(part,)) from None


def _load_authority(context: ssl.SSLContext, path: Path) -> None:
    blocks = [_BEGIN + block.partition(_END)[0] + _END for block in content(path, MAX_BYTES).split(_BEGIN)[1:]]
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


def _printable(value: str) -> str | None:
    if not value.isprintable():
        raise Problem("must be one line of printable text")
    return value or None


def _user_name(name: str) -> str:
    if not name or ":" in name:
        raise Problem("a user name is not empty and holds no colon")
    return name


def _bcrypt_hash(hashed: str) -> str:
    try:
        if not _BCRYPT.fullmatch(hashed):
            raise ValueError
        bcrypt.checkpw(b"", f"{hashed[:4]}04{hashed[6:]}".encode())  # tries salt and digest at the lowest cost
    except ValueError:
        raise Problem("not a bcrypt hash of cost 4 to 31", "make one with htpasswd -nBC 10 ''") from None
    return hashed


_Line = Annotated[str, AfterValidator(_printable)]


class _Headers(_Section):
    model_config = ConfigDict(title="headers")
    content_security_policy: _Line | None = Field(None, alias="Content-Security-Policy")
    x_frame_options: Literal["deny", "sameorigin"] | None = Field(None, alias="X-Frame-Options")
    x_content_type_options: Literal["nosniff"] | None = Field(None, alias="X-Content-Type-Options")
    x_xss_protection: _Line | None = Field(None, alias="X-XSS-Protection")
    strict_transport_security: _Line | None = Field(None, alias="Strict-Transport-Security")


class _HttpServerConfig(_Section):
    model_config = ConfigDict(title="http_server_config")
    http2: bool = True
    headers: _Headers | None = None


def _none_if_empty(value: Any) -> Any:
    return None if value == {} else value


class _WebConfigFile(_Section):
    model_config = ConfigDict(title="the web config")
    not_supported = ("rate_limit",)
    tls_server_config: Annotated[_TlsServerConfig | None, BeforeValidator(_none_if_empty)] = None
    http_server_config: _HttpServerConfig | None = None
    basic_auth_users: (
        dict[Annotated[str, AfterValidator(_user_name)], Annotated[str, AfterValidator(_bcrypt_hash)]] | None
    ) = None
