"""adapter.yml -> a frozen Config, or every error at once as `file:line:col: message`. README.md lists every key.

Files that it names are read here, relative to its folder.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
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
    ModelWrapValidatorHandler,
    Tag,
    ValidationInfo,
    model_validator,
)

from adapter import mapping
from adapter.alertmanager import MAX_ALERTS
from adapter.clock import SECOND, Micros
from adapter.coc.endpoint import (
    SITES,
    AkSk,
    Endpoint,
    EndpointProblem,
    Token,
    key_problem,
    proxy_of,
    url_problem,
)
from adapter.lifecycle import Policy
from adapter.mapping.render.request import Contract
from adapter.secret import Secret
from adapter.store.contract import Retention
from adapter.store.url import store_problem
from adapter.validation import Problem, gathered, validate_whole
from adapter.yamlfile import YamlFile, read

_SECRETS: Final = frozenset(
    {"integration_key", "access_key", "secret_key", "security_token", "token", "bearer_token", "proxy_url", "store"}
)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_MEMORY: Final = re.compile(rb"^(store:[ \t]+memory):(?=[ \t]*(?:#|\r?$))", re.MULTILINE)
_SECONDS: Final = {"y": 31_536_000.0, "w": 604_800.0, "d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION: Final = re.compile(r"(?<!\d)(\d{1,12})(ms|[ywdhms])")
_SIZE: Final = re.compile(r"(\d{1,18})\s*(?:([KMGTPE])i?)?B?", re.ASCII)


@dataclass(frozen=True)
class Source:
    """The file and what was found in it; the validators get it beside the data."""

    path: Path  # of adapter.yml
    shown: Mapping[str, Any]  # the file's data with secrets masked
    compared: Mapping[str, Any]  # the same with digests of secrets, to see whether one has changed
    without_secrets: bool = False  # files that hold secrets are not read
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
    if not value or info.context.without_secrets:
        return None
    try:
        return info.context.keep(Secret(path=info.context.file(value)))
    except ValueError as exc:  # without the path, which may be the secret itself by mistake
        raise ValueError(f"{info.field_name} {exc}") from None


def _integration_key(key: Secret | None) -> Secret | None:
    if key is not None and (problem := key_problem(key.get())):
        raise ValueError(f"the integration key {problem}")
    return key


def _base_url(url: str) -> str:
    if url and not url.startswith(("https://", "http://")):
        raise ValueError("base_url must be an https:// URL")
    if url and (reason := url_problem(url)):
        raise ValueError(f"base_url cannot be used: {reason}")
    return url


def _allow_http(allowed: bool, info: ValidationInfo[Source]) -> bool:
    if not allowed and info.data.get("base_url", "").startswith("http://"):
        raise ValueError("base_url is not https; set allow_http: true only for a sandbox or a test")
    return allowed


def _proxy(url: Secret | None) -> Secret | None:
    try:
        proxy_of(url.get() if url else "")
    except EndpointProblem as exc:
        raise ValueError(str(exc)) from None
    return url


def _store(url: str) -> str:
    if url and (problem := store_problem(url)):
        raise ValueError(problem)
    return url


def _store_file(url: Secret | None) -> Secret | None:
    if url is not None:
        _store(url.get())
    return url


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

    @model_validator(mode="wrap")
    @classmethod
    def _everything(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """What is wrong between the keys is told beside what is wrong with each."""
        return gathered(data, handler, list(cls.problems(data)) if isinstance(data, dict) else [])

    @classmethod
    def problems(cls, data: Mapping[str, Any]) -> Iterator[str]:
        """What is wrong between the keys, which may be wrong themselves."""
        for name in cls.model_fields:
            file = f"{name}_file"
            if data.get(name) and data.get(file) and file in cls.model_fields:
                yield f"{name} and {file} are both set; keep one of them"

    def secret(self, name: str) -> Secret | None:
        """The secret given as `name` or `name`_file."""
        secret: Secret | None = getattr(self, f"{name}_file") or getattr(self, name)
        return secret


def _given(data: Mapping[str, Any], secret: str) -> bool:
    return bool(data.get(secret) or data.get(f"{secret}_file"))


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

    @classmethod
    def problems(cls, data: Mapping[str, Any]) -> Iterator[str]:
        yield from super().problems(data)
        if not all(_given(data, name) for name in ("access_key", "secret_key")):
            yield "aksk needs access_key(_file) and secret_key(_file)"

    def credentials(self) -> AkSk:
        access_key, secret_key = self.secret("access_key"), self.secret("secret_key")
        assert access_key
        assert secret_key
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

    @classmethod
    def problems(cls, data: Mapping[str, Any]) -> Iterator[str]:
        yield from super().problems(data)
        if not _given(data, "token"):
            yield "token needs token or token_file"

    def credentials(self) -> Token:
        token = self.secret("token")
        assert token
        return Token(token=token)


class WithoutAuth(Model):
    type: Literal["none"]

    def credentials(self) -> None:
        return None


def _auth_type(value: Any) -> str:
    return str(value.get("type", "aksk")) if isinstance(value, dict) else ""


Auth = Annotated[
    Annotated[AkSkAuth, Tag("aksk")] | Annotated[TokenAuth, Tag("token")] | Annotated[WithoutAuth, Tag("none")],
    Discriminator(
        _auth_type,
        custom_error_type="auth_type",
        custom_error_message="auth must be none, or a mapping whose type is aksk, token or none",
    ),
    BeforeValidator(lambda value: {"type": value} if value == "none" else value),
]


class TlsConfig(Model):
    ca_file: ExistingFile = None
    cert_file: ExistingFile = None
    key_file: ExistingFile = None
    server_name: str = ""


class IntegrationSettings(Model):
    site: Literal["cn", "intl", "eu"] | None = None
    base_url: Annotated[str, AfterValidator(_base_url)] = ""
    integration_key: Annotated[InlineSecret, AfterValidator(_integration_key)] = None
    integration_key_file: Annotated[SecretFile, AfterValidator(_integration_key)] = None
    auth: Auth = WithoutAuth(type="none")
    timeout: Annotated[Duration, Field(gt=0, le=300)] = 10.0
    max_in_flight: Annotated[int, Field(ge=1, le=4096)] = 32
    rate_limit: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    tls_config: TlsConfig = TlsConfig()
    proxy_url: Annotated[InlineSecret, AfterValidator(_proxy)] = None
    proxy_url_file: Annotated[SecretFile, AfterValidator(_proxy)] = None
    proxy_from_environment: bool = False
    allow_http: Annotated[bool, AfterValidator(_allow_http)] = Field(False, validate_default=True)
    alarm_name: Literal["clean", "as-is"] = "clean"
    require_application_id: bool = True

    @classmethod
    def problems(cls, data: Mapping[str, Any]) -> Iterator[str]:
        yield from super().problems(data)
        if not _given(data, "integration_key"):
            yield "integration_key or integration_key_file is required (COC: Integration Management)"
        if bool(data.get("site")) == bool(data.get("base_url")):
            yield "exactly one of site (cn, intl, eu) and base_url is required"

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

    def contract(self, relay: RelaySettings) -> Contract:
        return Contract(self.alarm_name == "clean", self.require_application_id, relay.additional_labels)


def _integration_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Problem("the name cannot be part of a URL path", "letters, digits, '.', '_' and '-', at most 64")
    return name


class RelaySettings(Model):
    refresh_interval: Duration = 3600.0
    alarm_id: Literal["fingerprint", "episode"] = "fingerprint"
    additional_labels: bool = True

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


class ApplicationSettings(Model):
    refresh_interval: Duration = 3600.0  # 0 = no directory


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

    store: Annotated[str, AfterValidator(_store)] = Field("", repr=False)  # may hold a password
    store_file: Annotated[SecretFile, AfterValidator(_store_file)] = None
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
    applications: ApplicationSettings = ApplicationSettings()
    log: LogSettings = LogSettings()
    _source: Source
    _store_url: Secret

    @model_validator(mode="after")
    def _resolve_store(self, info: ValidationInfo[Source]) -> Self:
        source = self._source = info.context
        url = self.store_file.get() if self.store_file else self.store or "sqlite:data/adapter.db"
        scheme, _, rest = url.partition(":")
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


def load_config(path: Path, *, without_secrets: bool = False) -> Config:
    """Read one file; ConfigError carries every finding. `without_secrets`: it is not to be served by."""
    file = _read(path)
    file.data = file.data or {}  # an empty list counts as an empty file
    source = Source(path, _masked(file.data, lambda value: "<secret>"), _masked(file.data, _digest), without_secrets)
    return validate_whole(file, Config, source)


def _masked(data: Any, mask: Callable[[object], str]) -> Any:
    if isinstance(data, dict):
        return {key: mask(value) if key in _SECRETS and value else _masked(value, mask) for key, value in data.items()}
    if isinstance(data, list):
        return [_masked(item, mask) for item in data]
    return data


def _digest(secret: object) -> str:
    return hashlib.blake2b(str(secret).encode()).hexdigest()


def _read(path: Path) -> YamlFile:
    """`store: memory:` is no YAML without quotes, yet what everybody writes."""
    file = read(path, secret=True, amended=lambda text: _MEMORY.sub(rb"\1 ", text))
    file.drop_extensions()
    return file


def mappings_named(path: Path) -> Path | None:
    """The mappings of a file that is refused, perhaps for something else; None where it names none that exist."""
    data = _read(path).data
    if not isinstance(data, dict):
        return None
    named = path.parent / str(data["mappings"]) if data.get("mappings") else mapping.shipped()
    return named if named.is_dir() else None
