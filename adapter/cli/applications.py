"""The command `applications`: what COC lists, asked of the running adapter or, with its adapter.yml, of COC itself."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any, Final

from adapter.cli.client import PAGE, ask
from adapter.cli.operator import NOT_ASKED, add_group, add_verb, admin_url, print_rows, table_of
from adapter.errors import AdapterError

_COLUMNS: Final = ("id", "name", "code", "type", "path")


def add_applications_command(commands: Any) -> None:
    text = "COC's applications, components and groups"
    group = add_group(commands, "applications", text, _list, config_file=None, text=None)
    listing = add_verb(group, "list", "applications, components and groups, one per line", _list)
    listing.add_argument(
        "--config.file", dest="config_file", type=Path, default=argparse.SUPPRESS, metavar="FILE",
        help="ask COC itself, with the credentials in this adapter.yml; default: ask the running adapter",
    )  # fmt: skip
    listing.add_argument("--integration", default=argparse.SUPPRESS, metavar="NAME")
    listing.add_argument(
        "--name", dest="text", default=argparse.SUPPRESS, metavar="TEXT", help="part of the id, name, code or path"
    )


def _list(options: argparse.Namespace) -> int:
    rows = _from_coc(options) if options.config_file else _from_adapter(options)
    several = len({row["integration"] for row in rows}) > 1
    columns = ("integration", *_COLUMNS) if several else _COLUMNS
    shown = [{**row, "path": row["way"]} for row in rows]
    return print_rows(options, rows, table_of(columns, shown, "no applications"))


def _from_adapter(options: argparse.Namespace) -> list[dict[str, Any]]:
    url, query = admin_url(options), {"integration": options.integration, "text": options.text, "limit": PAGE}
    rows: list[dict[str, Any]] = []
    while page := ask(url, "GET", "/api/v1/applications", query={**query, "after": len(rows)}):
        rows += page
        if len(page) < PAGE:
            break
    for row in ask(url, "GET", "/api/v1/integrations"):
        if options.integration in (None, row["integration"]):
            state = row["applications"]
            if problem := NOT_ASKED if state is None else state["problem"]:
                print(f"integration {row['integration']}: {problem}", file=sys.stderr)
    return rows


def _from_coc(options: argparse.Namespace) -> list[dict[str, Any]]:
    from adapter.cli.online import ask_coc
    from adapter.config import load_config

    config = load_config(options.config_file)
    if options.integration is not None and options.integration not in config.integrations:
        raise AdapterError(f"no integration {options.integration!r}; there are {', '.join(config.integrations)}")
    names = [options.integration] if options.integration is not None else list(config.integrations)
    listed, problems = asyncio.run(ask_coc(config, names))
    for name, problem in problems.items():
        print(f"integration {name}: {problem}", file=sys.stderr)
    if not listed:
        raise AdapterError("COC listed nothing")
    return [
        {**node._asdict(), "integration": name, "way": way}
        for name, directory in listed.items()
        for node, way in directory.matching(options.text or "")
    ]
