"""adapter.yml: read -> validate -> resolve -> frozen Config. Every error at once, as `file:line:col: message`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from adapter import mapping
from adapter.clock import SECOND, Micros
from adapter.coc.endpoint import SITES, AkSk, Endpoint, NoAuth, Token, complaint
from adapter.config.schema import AkSkAuth, IntegrationSettings, Settings, TokenAuth, WebhookSettings, validated
from adapter.errors import ConfigError, Finding
from adapter.lifecycle import Policy
from adapter.mapping.render.request import Contract
from adapter.secret import Secret
from adapter.store.contract import Retention
from adapter.yamlfile import Loc, YamlFile, read

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_SECRETS: Final = frozenset(
    {"integration_key", "access_key", "secret_key", "security_token", "token", "bearer_token", "proxy_url", "store"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Integration:
    """One COC integration key with its endpoint, credentials and the operator's choices."""

    endpoint: Endpoint
    contract: Contract
    rate_limit: float  # reports per second, 0 = none

    @property
    def name(self) -> str:
        return self.endpoint.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """adapter.yml, resolved. Secrets are Secret objects; `shown` is the file's data with them masked."""

    path: Path
    store: Secret  # a URL that may hold a password
    mappings: Path
    integrations: Mapping[str, Integration]
    policy: Policy
    webhook: WebhookSettings
    bearer: Secret | None
    backlog: int
    store_size: int  # bytes, 0 = no bound
    retention: Retention
    log_level: str | None  # wins over --log.level; read again by a reload
    shown: Mapping[str, Any]
    secrets: tuple[Secret, ...]

    def integration(self, name: str | None) -> Integration | None:
        """The integration of a webhook path; without a name `default`, or the only one there is."""
        if name is not None:
            return self.integrations.get(name)
        if "default" not in self.integrations and len(self.integrations) == 1:
            return next(iter(self.integrations.values()))
        return self.integrations.get("default")


def load_config(path: Path) -> Config:
    """Read and resolve one file; ConfigError carries every finding."""
    file = read(path)
    if file.findings:
        raise ConfigError(file.findings)
    return _Resolver(file, path, validated(file)).config()


class _Resolver:
    """Turns names of files into what they hold, and collects what is wrong with them."""

    def __init__(self, file: YamlFile, path: Path, settings: Settings) -> None:
        self.file = file
        self.folder = path.parent
        self.path = path
        self.settings = settings
        self.findings: list[Finding] = []
        self.secrets: list[Secret] = []

    def config(self) -> Config:
        settings = self.settings
        mappings = self.folder / settings.mappings if settings.mappings else mapping.shipped()
        if not mappings.is_dir():
            self.findings.append(self.file.finding(("mappings",), f"{mappings} is not a directory"))
        integrations = {name: self._integration(name, item) for name, item in settings.integrations.items()}
        webhook = settings.webhook
        bearer = self._secret(("webhook",), "bearer_token", webhook.bearer_token, webhook.bearer_token_file)
        store = self._store()
        if self.findings:
            raise ConfigError(self.findings)
        return Config(
            path=self.path,
            store=store,
            mappings=mappings,
            integrations={name: item for name, item in integrations.items() if item},
            policy=Policy(_micros(settings.relay.refresh_interval), settings.relay.alarm_id == "episode"),
            webhook=webhook.model_copy(update={"bearer_token": ""}),
            bearer=bearer,
            backlog=settings.limits.backlog,
            store_size=settings.limits.store_size,
            retention=Retention(
                delivered=_micros(settings.retention.delivered),
                dead=_micros(settings.retention.dead),
                resolved=_micros(settings.retention.resolved),
            ),
            log_level=settings.log.level,
            shown=_masked(self.file.data),
            secrets=tuple(self.secrets),
        )

    def _integration(self, name: str, item: IntegrationSettings) -> Integration | None:
        loc: Loc = ("integrations", name)
        if not _NAME.fullmatch(name):
            hint = "letters, digits, '.', '_' and '-', at most 64"
            self.findings.append(self.file.finding(loc, f"{name!r} cannot be part of a URL path", hint, at_key=True))
            return None
        before = len(self.findings)
        key = self._secret(loc, "integration_key", item.integration_key, item.integration_key_file)
        auth = self._auth(loc, item)
        proxy = self._secret(loc, "proxy_url", item.proxy_url, item.proxy_url_file)
        if item.base_url and (reason := complaint(item.base_url)):
            self.findings.append(self.file.finding((*loc, "base_url"), f"base_url cannot be used: {reason}"))
        ca_file, cert_file, key_file = (
            self._existing((*loc, "tls_config", part), getattr(item.tls_config, part))
            for part in ("ca_file", "cert_file", "key_file")
        )
        if len(self.findings) > before or key is None:
            return None
        endpoint = Endpoint(
            name=name,
            base_url=item.base_url or SITES[item.site or "cn"],
            integration_key=key,
            auth=auth,
            timeout=item.timeout,
            max_in_flight=item.max_in_flight,
            server_name=item.tls_config.server_name or None,
            proxy_url=proxy,
            trust_env=item.proxy_from_environment,
            ca_file=ca_file,
            cert_file=cert_file,
            key_file=key_file,
        )
        contract = Contract(item.alarm_name == "clean", item.require_application_id)
        return Integration(endpoint=endpoint, contract=contract, rate_limit=item.rate_limit)

    def _auth(self, loc: Loc, item: IntegrationSettings) -> AkSk | Token | NoAuth:
        auth, loc = item.auth, (*loc, "auth")
        if isinstance(auth, TokenAuth):
            token = self._secret(loc, "token", auth.token, auth.token_file)
            return Token(token=token) if token else NoAuth()
        if isinstance(auth, AkSkAuth):
            access = self._secret(loc, "access_key", auth.access_key, auth.access_key_file)
            secret = self._secret(loc, "secret_key", auth.secret_key, auth.secret_key_file)
            session = self._secret(loc, "security_token", auth.security_token, auth.security_token_file)
            if access and secret:
                return AkSk(
                    access_key=access,
                    secret_key=secret,
                    security_token=session,
                    project_id=auth.project_id,
                    domain_id=auth.domain_id,
                )
        return NoAuth()

    def _store(self) -> Secret:
        given = self._secret((), "store", self.settings.store, self.settings.store_file)
        url = given.get() if given else "sqlite:data/adapter.db"
        scheme, _, rest = url.partition(":")
        if scheme not in ("sqlite", "memory", "postgresql", "postgres"):
            message = "the store is none of sqlite:PATH, postgresql://... and memory:"
            self.findings.append(self.file.finding(("store",), message))
        if given and scheme in ("sqlite", "memory"):
            self.secrets.remove(given)  # no password in it, and its words are common ones in a log
        if scheme == "sqlite" and not rest:
            self.findings.append(self.file.finding(("store",), "sqlite: needs the path of a file after it"))
        if scheme == "sqlite":
            return Secret(value=f"sqlite:{self.folder / rest}")
        return given or Secret(value=url)

    def _secret(self, loc: Loc, name: str, value: str, file: str) -> Secret | None:
        if not value and not file:
            return None
        try:
            secret = Secret(path=self.folder / file) if file else Secret(value=value)
        except OSError as exc:
            message = f"{self.folder / file} cannot be read: {exc.strerror}"
            self.findings.append(self.file.finding((*loc, f"{name}_file"), message))
            return None
        except ValueError:
            message = f"{self.folder / file} is empty or not UTF-8 text"
            self.findings.append(self.file.finding((*loc, f"{name}_file"), message))
            return None
        self.secrets.append(secret)
        return secret

    def _existing(self, loc: Loc, name: str) -> Path | None:
        if not name:
            return None
        path = self.folder / name
        if not path.is_file():
            self.findings.append(self.file.finding(loc, f"{path} does not exist"))
        return path


def _micros(seconds: float) -> Micros:
    return round(seconds * SECOND)


def _masked(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: "<secret>" if key in _SECRETS and value else _masked(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_masked(item) for item in data]
    return data
