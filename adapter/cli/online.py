"""What commands ask COC itself: the applications it lists, and whether those that mappings name are among them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from adapter.application import Directory
from adapter.cli.operator import NOT_ASKED
from adapter.clock import SystemClock
from adapter.coc.applications import ApplicationsClient
from adapter.coc.verdict import Verdict
from adapter.config import Config
from adapter.errors import Finding, MappingError
from adapter.mapping.rules.files import load
from adapter.mapping.tools.applications import not_listed


async def ask_coc(config: Config, names: Sequence[str]) -> tuple[dict[str, Directory], dict[str, str]]:
    """What COC lists for each integration, and why it lists nothing for the others."""
    listed, problems = {}, {}
    for name in names:
        endpoint = config.integrations[name].endpoint
        if endpoint.auth is None:
            problems[name] = NOT_ASKED
            continue
        answer = await ApplicationsClient(endpoint, SystemClock()).fetch()
        if isinstance(answer, Verdict):
            problems[name] = f"COC does not list its applications: {answer.words}"
        else:
            listed[name] = Directory(answer)
    return listed, problems


async def check_online(config: Config, mappings: Path) -> list[Finding]:
    """What COC does not list of the applications that these mappings name; why it could not be asked."""
    listed, problems = await ask_coc(config, list(config.integrations))
    if listed:
        problems = {name: problem for name, problem in problems.items() if problem is not NOT_ASKED}
    path = str(config.source.path)
    findings = [Finding(path, 0, 0, f"integration {name}: {problem}") for name, problem in problems.items()]
    if listed:
        with suppress(MappingError):  # which `check` tells by itself
            findings += not_listed(load(mappings), list(listed.values()))
    return findings
