"""Recognises files of another kind that were pasted among the mapping files (pure)."""

from __future__ import annotations

from typing import Any, Final

from adapter.errors import Finding
from adapter.yamlfile import YamlFile

_KINDS: Final = {
    "groups": ("a file of alerting rules of Prometheus", "a mapping file has `rules:` with name, when and alarm"),
    "route": ("the configuration of Alertmanager", "a mapping file has `rules:` with name, when and alarm"),
    "receivers": ("the configuration of Alertmanager", "a mapping file has `rules:` with name, when and alarm"),
    "scrape_configs": ("the configuration of Prometheus", "a mapping file has `rules:` with name, when and alarm"),
    "integrations": ("the configuration of the adapter", "it belongs in adapter.yml"),
    "tests": ("a file of mapping tests", "move it into the folder tests/ beside the mapping files"),
}
"""A key at the top of a file -> what the file is, and what to do."""


def foreign(source: YamlFile) -> Finding | None:
    """What a file is that has no key of a mapping file."""
    data = source.data
    if not isinstance(data, dict) or "rules" in data:
        return None
    kind = data.get("kind")
    if isinstance(kind, str) and "apiVersion" in data:
        hint = "a mapping file has `rules:` with name, when and alarm"
        if kind == "ConfigMap":
            hint = f"keep what stands under `data:`, {_first(data.get('data'))}in a file of its own"
        return source.finding(("kind",), f"this is a {kind} of Kubernetes, not a mapping file", hint, at_key=True)
    for key in data:
        if key in _KINDS:
            what, hint = _KINDS[key]
            return source.finding((key,), f"this is {what}, not a mapping file", hint, at_key=True)
        if key.endswith((".yaml", ".yml")) and isinstance(data[key], str):
            hint = "keep what stands under it, without its indentation"
            return source.finding(
                (key,), f"this is the data of a ConfigMap: {key!r} is a file's name", hint, at_key=True
            )
    return None


def _first(data: Any) -> str:
    return f"such as {next(iter(data))}, " if isinstance(data, dict) and data else ""
