"""adapter.yml -> a frozen Config, or every error at once as `file:line:col: message`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from adapter import mapping
from adapter.config.schema import Context, Settings
from adapter.secret import Secret
from adapter.validation import validate_whole
from adapter.yamlfile import read

_SECRETS: Final = frozenset(
    {"integration_key", "access_key", "secret_key", "security_token", "token", "bearer_token", "proxy_url", "store"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """adapter.yml, with the files read that it names."""

    path: Path
    settings: Settings
    store: Secret  # a URL that may hold a password
    mappings: Path
    shown: Mapping[str, Any]  # the file's data with secrets masked
    secrets: tuple[Secret, ...]

    def integration(self, name: str | None) -> str | None:
        """The name of a webhook path's integration; without one in the path `default`, or the only one there is."""
        known = self.settings.integrations
        if name is None:
            name = next(iter(known)) if len(known) == 1 else "default"
        return name if name in known else None


def load_config(path: Path) -> Config:
    """Read one file; ConfigError carries every finding."""
    file = read(path, secrets=_SECRETS)
    file.data = file.data or {}  # an empty list counts as an empty file
    context = Context(path.parent)
    settings = validate_whole(file, Settings, context)
    return Config(
        path=path,
        settings=settings,
        store=_store(settings, context),
        mappings=settings.mappings or mapping.shipped(),
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
