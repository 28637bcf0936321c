"""adapter.yml -> a frozen Config, or every error at once as `file:line:col: message`. README.md lists every key.

Files that it names are read here, relative to its folder.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    model_validator,
)

from adapter import mapping
from adapter.alertmanager import MAX_ALERTS
from adapter.clock import SECOND, Micros
from adapter.coc.endpoint import SITES, AkSk, Endpoint, Token, url_problem
from adapter.lifecycle import Policy
from adapter.mapping.render.request import Contract
from adapter.secret import Secret
from adapter.store.contract import Retention
from adapter.validation import Problem, validate_whole
from adapter.yamlfile import read

_SECRETS: Final = frozenset(
    {"integration_key", "access_key", "secret_key", "security_token", "token", "bearer_token", "proxy_url", "store"}
)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_STORES: Final = ("sqlite", "memory", "postgresql", "postgres")
_SECONDS: Final = {"y": 31_536_000.0, "w": 604_800.0, "d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION: Final = re.compile(r"(?<!\d)(\d{1,12})(ms|[ywdhms])")
_SIZE: Final = re.compile(r"(\d{1,18})\s*(?:([KMGTPE])i?)?B?", re.ASCII)


@dataclass(frozen=True)
class Source:
    """The file and what was found in it; the validators get it beside the data."""

    path: Path  # of adapter.yml
    shown: Mapping[str, Any]  # the file's data with secrets masked
    compared: Mapping[str, Any]  # the same with digests of secrets, to see whether one has changed
    secrets: list[Secret] = field(default_factory=list)  # every secret found, to keep them out of the logs

    def keep(self, secret: Secret) -> Secret:
        self.secrets.append(secret)
        return secret

    def file(self, name: object) -> Path:
        return self.path.parent / str(name)


def _secret(value: Any, info: ValidationInfo[Source]) -> Secret | None:
    if isinstance(value, dict | list | bool):
        raise ValueError(f"{info.field_name} must be text")
    return info.context.keep(Secret(value=str(value))) if value else None


def _secret_file(value: Any, info: ValidationInfo[Source]) -> Secret | None:
    if not value:
        return None
    try:
        return info.context.keep(Secret(path=info.context.file(value)))
    except ValueError as exc:  # without the path, which may be the secret itself by mistake
        raise ValueError(f"{info.field_name} {exc}") from None


def _path_that(
    exists: Callable[[Path], bool], otherwise: str, default: Callable[[], Path | None] = lambda: None
) -> BeforeValidator:
    """A path from the folder of adapter.yml; the default where none is named. `otherwise` has {name} or {path}."""

    def checked(value: Any, info: ValidationInfo[Source]) -> Path | None:
        path = info.context.file(value) if value else default()
        try:
            missing = value and path and not exists(path)
        except OSError as exc:  # a folder above it may not be entered, or the name is too long
            raise ValueError(f"{info.field_name} cannot be read: {exc.strerror}") from exc
        if missing:
            raise ValueError(otherwise.format(name=info.field_name, path=path))
        return path

    return BeforeValidator(checked)


def _micros(duration: float) -> Micros:
    return round(duration * SECOND)


def seconds(text: str | int) -> float:
    """`1h30m` to seconds; `0` needs no unit. ValueError says what is accepted."""
    parts = _DURATION.findall(str(text))
    if str(text) == "0":
        return 0.0
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{str(text)!r} is not a duration; write it like 10s, 5m, 1h30m or 7d")
    total = sum(int(number) * _SECONDS[unit] for number, unit in parts)
    if total > 100 * _SECONDS["y"]:
        raise ValueError(f"{text!r} is longer than 100y")
    return total


def size(text: str | int) -> int:
    """`16MiB` to bytes; like Prometheus, `MB` is 1024 x 1024 too. ValueError says what is accepted."""
    match = _SIZE.fullmatch(str(text))
    if match is None:
        raise ValueError(f"{str(text)!r} is not a size; write it like 512KiB, 16MiB or 2GiB")
    power = " KMGTPE".index(match[2]) if match[2] else 0
    return int(match[1]) << (10 * power)


Duration = Annotated[float, BeforeValidator(seconds)]
Size = Annotated[int, BeforeValidator(size)]
InlineSecret = Annotated[Secret | None, BeforeValidator(_secret)]
SecretFile = Annotated[Secret | None, BeforeValidator(_secret_file)]
# Without the path, which may be the key itself by mistake.
ExistingFile = Annotated[Path | None, _path_that(Path.is_file, "{name} names no file that exists")]


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True, arbitrary_types_allowed=True)

    @model_validator(mode="before")
    @classmethod
    def _one_form_of_each_secret(cls, data: Any) -> Any:
        for name in cls.model_fields if isinstance(data, dict) else ():
            file = f"{name}_file"
            if data.get(name) and data.get(file) and file in cls.model_fields:
                raise ValueError(f"{name} and {file} are both set; keep one of them")
        return data

    def secret(self, name: str) -> Secret | None:
        """The secret given as `name` or `name`_file."""
        secret: Secret | None = getattr(self, f"{name}_file") or getattr(self, name)
        return secret


class AkSkAuth(Model):
    type: Literal["aksk"] = "aksk"
    access_key: InlineSecret = None
    access_key_file: SecretFile = None
    secret_key: InlineSecret = None
    secret_key_file: SecretFile = None
    security_token: InlineSecret = None
    security_token_file: SecretFile = None
    project_id: str = ""
    domain_id: str = ""

    def credentials(self) -> AkSk:
        access_key, secret_key = self.secret("access_key"), self.secret("secret_key")
        if not access_key or not secret_key:
            raise ValueError("aksk needs access_key(_file) and secret_key(_file)")
        return AkSk(
            access_key=access_key,
            secret_key=secret_key,
            security_token=self.secret("security_token"),
            project_id=self.project_id,
            domain_id=self.domain_id,
        )


class TokenAuth(Model):
    type: Literal["token"]
    token: InlineSecret = None
    token_file: SecretFile = None

    def credentials(self) -> Token:
        token = self.secret("token")
        if not token:
            raise ValueError("token needs token or token_file")
        return Token(token=token)


class WithoutAuth(Model):
    type: Literal["none"]

    def credentials(self) -> None:
        return None


def _auth_type(value: Any) -> str:
    return str(value.get("type", "aksk")) if isinstance(value, dict) else ""


def _complete(auth: _Auth) -> _Auth:
    auth.credentials()
    return auth


_Auth = AkSkAuth | TokenAuth | WithoutAuth
Auth = Annotated[
    Annotated[AkSkAuth, Tag("aksk")] | Annotated[TokenAuth, Tag("token")] | Annotated[WithoutAuth, Tag("none")],
    Discriminator(
        _auth_type,
        custom_error_type="auth_type",
        custom_error_message="auth must be none, or a mapping whose type is aksk, token or none",
    ),
    BeforeValidator(lambda value: {"type": value} if value == "none" else value),
    AfterValidator(_complete),
]


class TlsConfig(Model):
    ca_file: ExistingFile = None
    cert_file: ExistingFile = None
    key_file: ExistingFile = None
    server_name: str = ""


class IntegrationSettings(Model):
    site: Literal["cn", "intl", "eu"] | None = None
    base_url: str = ""
    integration_key: InlineSecret = None
    integration_key_file: SecretFile = None
    auth: Auth = WithoutAuth(type="none")
    timeout: Annotated[Duration, Field(gt=0, le=300)] = 10.0
    max_in_flight: Annotated[int, Field(ge=1, le=4096)] = 32
    rate_limit: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    tls_config: TlsConfig = TlsConfig()
    proxy_url: InlineSecret = None
    proxy_url_file: SecretFile = None
    proxy_from_environment: bool = False
    allow_http: bool = False
    alarm_name: Literal["clean", "as-is"] = "clean"
    require_application_id: bool = True

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if not self.secret("integration_key"):
            raise ValueError("integration_key or integration_key_file is required (COC: Integration Management)")
        if (self.site is None) == (not self.base_url):
            raise ValueError("exactly one of site (cn, intl, eu) and base_url is required")
        if self.base_url and not self.base_url.startswith("https://"):
            if not self.base_url.startswith("http://"):
                raise ValueError("base_url must be an https:// URL")
            if not self.allow_http:
                raise ValueError("base_url is not https; set allow_http: true only for a sandbox or a test")
        if self.base_url and (reason := url_problem(self.base_url)):
            raise Problem(f"base_url cannot be used: {reason}", at=("base_url",))
        return self

    @property
    def endpoint(self) -> Endpoint:
        key, tls = self.secret("integration_key"), self.tls_config
        assert key
        return Endpoint(
            base_url=self.base_url or SITES[self.site or "cn"],
            integration_key=key,
            auth=self.auth.credentials(),
            timeout=self.timeout,
            max_in_flight=self.max_in_flight,
            server_name=tls.server_name or None,
            proxy_url=self.secret("proxy_url"),
            trust_env=self.proxy_from_environment,
            ca_file=tls.ca_file,
            cert_file=tls.cert_file,
            key_file=tls.key_file,
        )

    @property
    def contract(self) -> Contract:
        return Contract(self.alarm_name == "clean", self.require_application_id)


def _integration_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Problem("the name cannot be part of a URL path", "letters, digits, '.', '_' and '-', at most 64")
    return name


class RelaySettings(Model):
    refresh_interval: Duration = 3600.0
    alarm_id: Literal["fingerprint", "episode"] = "fingerprint"

    def policy(self) -> Policy:
        return Policy(_micros(self.refresh_interval), self.alarm_id == "episode")


class WebhookSettings(Model):
    bearer_token: InlineSecret = None
    bearer_token_file: SecretFile = None
    max_body: Annotated[Size, Field(gt=0)] = 16 * 1024 * 1024
    max_alerts: Annotated[int, Field(ge=1)] = MAX_ALERTS
    body_timeout: Annotated[Duration, Field(gt=0)] = 10.0
    header_timeout: Annotated[Duration, Field(gt=0)] = 10.0
    max_connections: Annotated[int, Field(ge=1)] = 2048
    max_in_flight: Annotated[int, Field(ge=1)] = 512
    max_in_flight_bytes: Annotated[Size, Field(gt=0)] = 256 * 1024 * 1024


class LimitSettings(Model):
    backlog: Annotated[int, Field(ge=1, le=10**12)] = 1_000_000
    store_size: Annotated[Size, Field(ge=0)] = 0  # 0 = no bound


class LogSettings(Model):
    level: Literal["debug", "info", "warn", "error"] | None = None  # wins over --log.level


class RetentionSettings(Model):
    delivered: Annotated[Duration, Field(gt=0)] = 7 * 86_400.0
    dead: Annotated[Duration, Field(gt=0)] = 90 * 86_400.0
    resolved: Annotated[Duration, Field(gt=0)] = 30 * 86_400.0

    def retention(self) -> Retention:
        return Retention(delivered=_micros(self.delivered), dead=_micros(self.dead), resolved=_micros(self.resolved))


class Config(Model):
    """adapter.yml, with the files read that it names."""

    store: str = Field("", repr=False)  # may hold a password
    store_file: SecretFile = None
    mappings: Annotated[Path, _path_that(Path.is_dir, "{path} is not a directory", mapping.shipped)] = Field(
        default_factory=mapping.shipped
    )
    integrations: Annotated[
        dict[Annotated[str, AfterValidator(_integration_name)], IntegrationSettings], Field(min_length=1)
    ]
    relay: RelaySettings = RelaySettings()
    webhook: WebhookSettings = WebhookSettings()
    limits: LimitSettings = LimitSettings()
    retention: RetentionSettings = RetentionSettings()
    log: LogSettings = LogSettings()
    _source: Source
    _store_url: Secret

    @model_validator(mode="after")
    def _resolve_store(self, info: ValidationInfo[Source]) -> Self:
        source = self._source = info.context
        url = self.store_file.get() if self.store_file else self.store or "sqlite:data/adapter.db"
        scheme, _, rest = url.partition(":")
        if scheme not in _STORES:
            raise Problem("the store is none of sqlite:PATH, postgresql://... and memory:", at=("store",))
        if "\0" in url:
            raise Problem("the store's path holds a character that no path can have", at=("store",))
        if scheme == "sqlite" and not rest:
            raise Problem("sqlite: needs the path of a file after it", at=("store",))
        if scheme in ("sqlite", "memory"):
            if self.store_file:
                source.secrets.remove(self.store_file)  # no password in it, and its words are common ones in a log
            self._store_url = Secret(value=f"sqlite:{source.file(rest)}" if scheme == "sqlite" else url)
        else:
            self._store_url = self.store_file or source.keep(Secret(value=url))
        return self

    @property
    def source(self) -> Source:
        return self._source

    @property
    def store_url(self) -> Secret:
        """The store's URL, from `store` or `store_file`; it may hold a password."""
        return self._store_url

    def integration(self, name: str | None) -> str | None:
        """The name of a webhook path's integration; without one in the path `default`, or the only one there is."""
        if name is None:
            name = next(iter(self.integrations)) if len(self.integrations) == 1 else "default"
        return name if name in self.integrations else None


def load_config(path: Path) -> Config:
    """Read one file; ConfigError carries every finding."""
    file = read(path, secret=True)
    file.data = file.data or {}  # an empty list counts as an empty file
    source = Source(path, _masked(file.data, lambda value: "<secret>"), _masked(file.data, _digest))
    return validate_whole(file, Config, source)


def _masked(data: Any, mask: Callable[[object], str]) -> Any:
    if isinstance(data, dict):
        return {key: mask(value) if key in _SECRETS and value else _masked(value, mask) for key, value in data.items()}
    if isinstance(data, list):
        return [_masked(item, mask) for item in data]
    return data


def _digest(secret: object) -> str:
    return hashlib.blake2b(str(secret).encode()).hexdigest()
