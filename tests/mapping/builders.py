"""Mapping files and render requests for tests: a test names only what matters to it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import dedent
from typing import Any

from adapter.alertmanager import Group, pack
from adapter.mapping.render.engine import Program
from adapter.mapping.render.live import LiveMappings
from adapter.mapping.render.request import Contract, RenderRequest, RenderResult
from adapter.mapping.rules.files import load
from adapter.mapping.rules.model import RuleSet
from tests.builders import GROUP, an_alert

SOUND = {
    "alarmName": "{{ labels.alertname }}",
    "alarmLevel": "{{ labels.severity | level }}",
    "nameSpace": "{{ labels.namespace or 'default' }}",
    "applicationId": "app-1",
    "alarmDesc": "{{ annotations.summary or 'nothing' }}",
}
"""A template for each required field that never falls back."""


def a_request(
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    *,
    group: Group = GROUP,
    contract: Contract | None = None,
    integration: str = "default",
    **alert: Any,
) -> RenderRequest:
    """A firing alert as delivery hands it over; labels are added to a plain set."""
    given = an_alert(
        labels={"alertname": "PodDown", "severity": "warning", **(labels or {})},
        annotations={"summary": "down"} if annotations is None else annotations,
        **alert,
    )
    raw = pack(given, group.as_json())
    return RenderRequest(raw, integration, given.fingerprint, 1_700_000_000_000, "alarm", contract or Contract())


def one_rule(**fields: Any) -> str:
    """A mapping file of one rule that takes every alert; the fields not named are sound."""
    return rules({"name": "all", "alarm": {**SOUND, **fields}})


def rules(*entries: dict[str, Any], **top: Any) -> str:
    """A mapping file of these rules, as JSON, which is YAML too."""
    return json.dumps({**top, "rules": list(entries)}, ensure_ascii=False)


def write(directory: Path, **files: str) -> Path:
    """Mapping files by name without suffix; the text may be indented."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / f"{name}.yaml").write_text(dedent(text))
    return directory


@asynccontextmanager
async def opened(directory: Path, **options: Any) -> AsyncIterator[LiveMappings]:
    mappings = await LiveMappings.open(directory, **options)
    try:
        yield mappings
    finally:
        await mappings.close()


async def rendered(directory: Path, *requests: RenderRequest, **options: Any) -> list[RenderResult]:
    async with opened(directory, **options) as mappings:
        return await mappings.render(requests)


def reasons(result: RenderResult) -> dict[str, str]:
    """Field -> reason of everything that fell back."""
    return {field: str(why.reason) for field, why in result.fallbacks.items()}


def program(text: str | Path) -> Program:
    """Rules as the worker process has them, in this process: for templates that behave."""
    if isinstance(text, Path):
        return _program(load(text))
    with TemporaryDirectory() as folder:
        return _program(load(write(Path(folder), only=text)))


def _program(ruleset: RuleSet) -> Program:
    return Program(ruleset.as_data(), {}, mark=lambda place: None, clock=time.monotonic, lap=lambda: 0.0, patience=10)


def outcome(of: Program | str, request: RenderRequest) -> RenderResult:
    """What the rules make of a request."""
    return (of if isinstance(of, Program) else program(of)).render(request)


def fields(of: Program | str, request: RenderRequest | None = None) -> dict[str, Any]:
    """The body the rules make of a request."""
    body = outcome(of, request or a_request()).body
    assert body is not None
    return body


def text_of(template: str, request: RenderRequest | None = None, **top: Any) -> str:
    """What one template comes to, as resourceName; empty when it is left out."""
    of = rules({"name": "all", "alarm": {**SOUND, "resourceName": template}}, **top)
    return str(fields(of, request).get("resourceName", ""))


def workers(parent: int | None = None, module: str = "adapter.mapping.render.worker") -> list[int]:
    """The worker processes of a process, of this one when None, that are alive."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if int(stat[1]) == (parent or os.getpid()) and stat[0] != "Z" and module.encode() in command:
                found.append(int(entry.name))
    return found


def drafts(parent: int | None = None) -> list[int]:
    """Its draft processes."""
    return workers(parent, "adapter.mapping.draft.worker")
