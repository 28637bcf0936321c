"""adapter.yml -> a frozen Config, or every error at once as `file:line:col: message`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from adapter import mapping
from adapter.config.schema import Context, IntegrationSettings, Settings, WebhookSettings
from adapter.lifecycle import Policy
from adapter.secret import Secret
from adapter.store.contract import Retention
from adapter.validation import validate_whole
from adapter.yamlfile import read

_SECRETS: Final = frozenset(
    {"integration_key", "access_key", "secret_key", "security_token", "token", "bearer_token", "proxy_url", "store"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """adapter.yml, with the files read that it names. `shown` is the file's data with secrets masked."""

    path: Path
    store: Secret  # a URL that may hold a password
    mappings: Path
    integrations: Mapping[str, IntegrationSettings]
    policy: Policy
    webhook: WebhookSettings
    bearer: Secret | None
    backlog: int
    store_size: int  # bytes, 0 = no bound
    retention: Retention
    log_level: str | None  # wins over --log.level; read again by a reload
    shown: Mapping[str, Any]
    secrets: tuple[Secret, ...]

    def integration(self, name: str | None) -> str | None:
        """The name of a webhook path's integration; without one in the path `default`, or the only one there is."""
        if name is None:
            name = next(iter(self.integrations)) if len(self.integrations) == 1 else "default"
        return name if name in self.integrations else None


def load_config(path: Path) -> Config:
    """Read one file; ConfigError carries every finding."""
    file = read(path, secrets=_SECRETS)
    file.data = file.data or {}
    context = Context(path.parent)
    settings = validate_whole(file, Settings, context)
    return Config(
        path=path,
        store=_store(settings, context),
        mappings=settings.mappings or mapping.shipped(),
        integrations=settings.integrations,
        policy=settings.relay.policy(),
        webhook=settings.webhook,
        bearer=settings.webhook.secret("bearer_token"),
        backlog=settings.limits.backlog,
        store_size=settings.limits.store_size,
        retention=settings.retention.retention(),
        log_level=settings.log.level,
        shown=_masked(file.data),
        secrets=tuple(context.secrets),
    )


def _store(settings: Settings, context: Context) -> Secret:
    url, file = settings.store_url(), settings.store_file
    scheme, _, rest = url.partition(":")
    if scheme in ("sqlite", "memory"):
        if file:
            context.secrets.remove(file)  # no password in it, and its words are common ones in a log
        return Secret(value=f"sqlite:{context.folder / rest}" if scheme == "sqlite" else url)
    return file or context.keep(Secret(value=url))


def _masked(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: "<secret>" if key in _SECRETS and value else _masked(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_masked(item) for item in data]
    return data
