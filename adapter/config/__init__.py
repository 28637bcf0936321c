"""adapter.yml -> a frozen Config, or every error at once as `file:line:col: message`.

docs/configuration.md lists every key. Files that it names are read here, relative to its folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    model_validator,
)

from adapter import mapping
from adapter.alertmanager import MAX_ALERTS
from adapter.coc.endpoint import SITES, AkSk, Endpoint, Token, key_problem, url_problem
from adapter.config.model import (
    Duration,
    InlineProxy,
    InlineSecret,
    Model,
    ProxyFile,
    SecretFile,
    Size,
    Source,
    TlsConfig,
    digest,
    given,
    masked,
    path_name,
    path_that,
    to_micros,
)
from adapter.config.reconcile import ReconcileSettings
from adapter.lifecycle import Policy
from adapter.mapping.render.request import Contract
from adapter.reconcile.cluster import Cluster
from adapter.secret import Secret
from adapter.store.contract import Retention
from adapter.store.url import store_problem
from adapter.units import seconds, size
from adapter.validation import validate_whole
from adapter.yamlfile import YamlFile, read

__all__ = ["Config", "Source", "load_config", "mappings_named", "seconds", "size"]

_MEMORY: Final = re.compile(rb"^(store:[ \t]+memory):(?=[ \t]*(?:#|\r?$))", re.MULTILINE)


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


def _store(url: str) -> str:
    if url and (problem := store_problem(url)):
        raise ValueError(problem)
    return url


def _store_file(url: Secret | None) -> Secret | None:
    if url is not None:
        _store(url.get())
    return url


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
        if not all(given(data, name) for name in ("access_key", "secret_key")):
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
    needs = ("token", "token needs token or token_file")

    type: Literal["token"]
    token: InlineSecret = None
    token_file: SecretFile = None

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


class IntegrationSettings(Model):
    needs = ("integration_key", "integration_key or integration_key_file is required (COC: Integration Management)")

    site: Literal["cn", "intl", "eu"] | None = None
    base_url: Annotated[str, AfterValidator(_base_url)] = ""
    integration_key: Annotated[InlineSecret, AfterValidator(_integration_key)] = None
    integration_key_file: Annotated[SecretFile, AfterValidator(_integration_key)] = None
    auth: Auth = WithoutAuth(type="none")
    timeout: Annotated[Duration, Field(gt=0, le=300)] = 10.0
    max_in_flight: Annotated[int, Field(ge=1, le=4096)] = 32
    rate_limit: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    tls_config: TlsConfig = TlsConfig()
    proxy_url: InlineProxy = None
    proxy_url_file: ProxyFile = None
    proxy_from_environment: bool = False
    allow_http: Annotated[bool, AfterValidator(_allow_http)] = Field(False, validate_default=True)
    alarm_name: Literal["clean", "as-is"] = "clean"
    require_application_id: bool = True

    @classmethod
    def problems(cls, data: Mapping[str, Any]) -> Iterator[str]:
        yield from super().problems(data)
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


class RelaySettings(Model):
    refresh_interval: Duration = 3600.0
    alarm_id: Literal["fingerprint", "episode"] = "fingerprint"
    additional_labels: bool = True

    def policy(self) -> Policy:
        return Policy(to_micros(self.refresh_interval), self.alarm_id == "episode")


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


class ConsoleSettings(Model):
    enabled: bool = True
    read_only: bool = False


class LogSettings(Model):
    level: Literal["debug", "info", "warn", "error"] | None = None  # wins over --log.level


class RetentionSettings(Model):
    delivered: Annotated[Duration, Field(gt=0)] = 7 * 86_400.0
    dead: Annotated[Duration, Field(gt=0)] = 90 * 86_400.0
    resolved: Annotated[Duration, Field(gt=0)] = 30 * 86_400.0

    def retention(self) -> Retention:
        return Retention(
            delivered=to_micros(self.delivered), dead=to_micros(self.dead), resolved=to_micros(self.resolved)
        )


class Config(Model):
    """adapter.yml, with the files read that it names."""

    store: Annotated[str, AfterValidator(_store)] = Field("", repr=False)  # may hold a password
    store_file: Annotated[SecretFile, AfterValidator(_store_file)] = None
    mappings: Annotated[Path, path_that(Path.is_dir, "{path} is not a directory", mapping.shipped)] = Field(
        default_factory=mapping.shipped
    )
    integrations: Annotated[dict[Annotated[str, AfterValidator(path_name)], IntegrationSettings], Field(min_length=1)]
    relay: RelaySettings = RelaySettings()
    webhook: WebhookSettings = WebhookSettings()
    limits: LimitSettings = LimitSettings()
    retention: RetentionSettings = RetentionSettings()
    applications: ApplicationSettings = ApplicationSettings()
    console: ConsoleSettings = ConsoleSettings()
    log: LogSettings = LogSettings()
    reconcile: ReconcileSettings = ReconcileSettings(mode="off")
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

    @model_validator(mode="after")
    def _check_reconcile(self) -> Self:
        self.reconcile.check(self.integrations)
        return self

    @property
    def clusters(self) -> list[Cluster]:
        """The Alertmanagers to reconcile with."""
        return self.reconcile.clusters(tuple(self.integrations), self.relay.refresh_interval)

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
    source = Source(path, masked(file.data, lambda value: "<secret>"), masked(file.data, digest), without_secrets)
    return validate_whole(file, Config, source)


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
