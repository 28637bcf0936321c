"""The shape of adapter.yml: pydantic models, nothing resolved yet. docs/configuration.md lists every key."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from adapter.config import units
from adapter.errors import ConfigError
from adapter.validation import findings_of
from adapter.yamlfile import YamlFile

Duration = Annotated[float, BeforeValidator(units.seconds)]
Size = Annotated[int, BeforeValidator(units.size)]


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    @model_validator(mode="after")
    def _one_form_of_each_secret(self) -> Self:
        for name in type(self).model_fields:
            plain = name.removesuffix("_file")
            if plain != name and plain in type(self).model_fields and getattr(self, name) and getattr(self, plain):
                raise ValueError(f"{plain} and {name} are both set; keep one of them")
        return self


class AkSkAuth(Model):
    type: Literal["aksk"] = "aksk"
    access_key: str = ""
    access_key_file: str = ""
    secret_key: str = ""
    secret_key_file: str = ""
    security_token: str = ""
    security_token_file: str = ""
    project_id: str = ""
    domain_id: str = ""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not (self.access_key or self.access_key_file) or not (self.secret_key or self.secret_key_file):
            raise ValueError("aksk needs access_key(_file) and secret_key(_file)")
        return self


class TokenAuth(Model):
    type: Literal["token"]
    token: str = ""
    token_file: str = ""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not (self.token or self.token_file):
            raise ValueError("token needs token or token_file")
        return self


class NoAuth(Model):
    type: Literal["none"]


def _auth_type(value: Any) -> str:
    kind = value.get("type", "aksk") if isinstance(value, dict) else getattr(value, "type", "")
    return str(kind)


Auth = Annotated[
    Annotated[AkSkAuth, Tag("aksk")] | Annotated[TokenAuth, Tag("token")] | Annotated[NoAuth, Tag("none")],
    Discriminator(
        _auth_type,
        custom_error_type="auth_type",
        custom_error_message="auth must be none, or a mapping whose type is aksk, token or none",
    ),
    BeforeValidator(lambda value: {"type": value} if value == "none" else value),
]


class TlsConfig(Model):
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    server_name: str = ""


class IntegrationSettings(Model):
    site: Literal["cn", "intl", "eu"] | None = None
    base_url: str = ""
    integration_key: str = ""
    integration_key_file: str = ""
    auth: Auth = NoAuth(type="none")
    timeout: Annotated[Duration, Field(gt=0, le=300)] = 10.0
    max_in_flight: Annotated[int, Field(ge=1, le=4096)] = 32
    rate_limit: Annotated[float, Field(ge=0)] = 0.0
    tls_config: TlsConfig = TlsConfig()
    proxy_url: str = ""
    proxy_url_file: str = ""
    proxy_from_environment: bool = False
    allow_http: bool = False
    alarm_name: Literal["clean", "as-is"] = "clean"
    require_application_id: bool = True

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if not self.integration_key and not self.integration_key_file:
            raise ValueError("integration_key or integration_key_file is required (COC: Integration Management)")
        if (self.site is None) == (not self.base_url):
            raise ValueError("exactly one of site (cn, intl, eu) and base_url is required")
        if self.base_url and not self.base_url.startswith("https://"):
            if not self.base_url.startswith("http://"):
                raise ValueError("base_url must be an https:// URL")
            if not self.allow_http:
                raise ValueError("base_url is not https; set allow_http: true only for a sandbox or a test")
        return self


class RelaySettings(Model):
    refresh_interval: Duration = 3600.0
    alarm_id: Literal["fingerprint", "episode"] = "fingerprint"


class WebhookSettings(Model):
    bearer_token: str = ""
    bearer_token_file: str = ""
    max_body: Annotated[Size, Field(gt=0)] = 16 * 1024 * 1024
    body_timeout: Annotated[Duration, Field(gt=0)] = 10.0
    header_timeout: Annotated[Duration, Field(gt=0)] = 10.0
    max_connections: Annotated[int, Field(ge=1)] = 2048
    max_in_flight: Annotated[int, Field(ge=1)] = 512
    max_in_flight_bytes: Annotated[Size, Field(gt=0)] = 256 * 1024 * 1024


class LimitSettings(Model):
    backlog: Annotated[int, Field(ge=1)] = 1_000_000
    store_size: Annotated[Size, Field(ge=0)] = 0


class LogSettings(Model):
    level: Literal["debug", "info", "warn", "error"] | None = None


class RetentionSettings(Model):
    delivered: Annotated[Duration, Field(gt=0)] = 7 * 86_400.0
    dead: Annotated[Duration, Field(gt=0)] = 90 * 86_400.0
    resolved: Annotated[Duration, Field(gt=0)] = 30 * 86_400.0


class Settings(Model):
    store: str = ""
    store_file: str = ""
    mappings: str = ""
    integrations: Annotated[dict[str, IntegrationSettings], Field(min_length=1)]
    relay: RelaySettings = RelaySettings()
    webhook: WebhookSettings = WebhookSettings()
    limits: LimitSettings = LimitSettings()
    retention: RetentionSettings = RetentionSettings()
    log: LogSettings = LogSettings()


def validated(file: YamlFile) -> Settings:
    """The file's data in this shape; ConfigError carries every finding."""
    try:
        return Settings.model_validate(file.data if file.data is not None else {})
    except ValidationError as exc:
        raise ConfigError(findings_of(file, exc, Settings)) from None
