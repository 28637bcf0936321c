"""adapter.yml -> a frozen Config, or every error at once as `file:line:col: message`. README.md lists every key.

Files that it names are read here, relative to its folder.
"""

from __future__ import annotations

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
from adapter.coc.endpoint import SITES, AkSk, Endpoint, Token, url_problem
from adapter.config.reconcile import ReconcileSettings
from adapter.config.units import (
    Duration,
    InlineSecret,
    Model,
    SecretFile,
    Size,
    Source,
    TlsConfig,
    digest,
    masked,
    path_name,
    path_that,
    to_micros,
)
from adapter.lifecycle import Policy
from adapter.mapping.render.request import Contract
from adapter.reconcile.cluster import Cluster
from adapter.secret import Secret
from adapter.store.contract import Retention
from adapter.units import seconds, size
from adapter.validation import Problem, validate_whole
from adapter.yamlfile import read

__all__ = ["Config", "Source", "load_config", "seconds", "size"]

_STORES: Final = ("sqlite", "memory", "postgresql", "postgres")


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


class RelaySettings(Model):
    refresh_interval: Duration = 3600.0
    alarm_id: Literal["fingerprint", "episode"] = "fingerprint"

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

    store: str = Field("", repr=False)  # may hold a password
    store_file: SecretFile = None
    mappings: Annotated[Path, path_that(Path.is_dir, "is not a directory", mapping.shipped)] = Field(
        default_factory=mapping.shipped
    )
    integrations: Annotated[dict[Annotated[str, AfterValidator(path_name)], IntegrationSettings], Field(min_length=1)]
    relay: RelaySettings = RelaySettings()
    webhook: WebhookSettings = WebhookSettings()
    limits: LimitSettings = LimitSettings()
    retention: RetentionSettings = RetentionSettings()
    log: LogSettings = LogSettings()
    reconcile: ReconcileSettings = ReconcileSettings(mode="off")
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


def load_config(path: Path) -> Config:
    """Read one file; ConfigError carries every finding."""
    file = read(path, secret=True)
    file.data = file.data or {}  # an empty list counts as an empty file
    source = Source(path, masked(file.data, lambda value: "<secret>"), masked(file.data, digest))
    return validate_whole(file, Config, source)
