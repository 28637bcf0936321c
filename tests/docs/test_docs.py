"""README and docs name exactly the flags, keys, metrics and files that exist."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import yaml
from prometheus_client import generate_latest
from pydantic import BaseModel

from adapter.cli.main import parser
from adapter.config import Config, load_config, seconds, size
from adapter.mapping.rules.files import load
from adapter.metrics import Metrics
from tests.docs.pages import PAGES, ROOT, place_of, prose
from tests.docs.transcript import Terminal, blocks

README = (ROOT / "README.md").read_text()
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()
COMMANDS = (ROOT / "docs" / "commands.md").read_text()


def block(text: str, language: str, containing: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return next(item for item in blocks if containing in item)


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every leaf key of a settings model with its default."""
    for name, field in model.model_fields.items():
        inner = [item for item in _models(field.annotation) if issubclass(item, BaseModel)]
        where = f"{prefix}{name}." + ("NAME." if name == "integrations" else "")
        if inner:
            for item in inner:
                yield from keys(item, where)
        else:
            yield f"{prefix}{name}", field.get_default()


def _models(annotation: object) -> Iterator[type]:
    if isinstance(annotation, type):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def documented() -> dict[str, str]:
    """The defaults in the table of keys; a cell may name several keys."""
    rows = re.findall(r"^\| (`.*?`(?:, `.*?`)*) \| (.*?) \|", CONFIGURATION, re.MULTILINE)
    defaults: dict[str, str] = {}
    for cell, default in rows:
        names = re.findall(r"`(.*?)`", cell)
        folder = names[0].rpartition(".")[0]
        for name in names:
            defaults[name if "." in name or not folder else f"{folder}.{name}"] = default
    return defaults


def test_the_configuration_table_lists_exactly_the_existing_keys() -> None:
    assert set(documented()) == {name for name, _ in keys(Config)}


def test_the_defaults_in_the_configuration_table_are_the_real_ones() -> None:
    defaults = dict(keys(Config))
    for name, cell in documented().items():
        match = re.fullmatch(r"`(.*)`", cell)
        if match is None or not isinstance(defaults[name], int | float | bool):
            continue
        value, text = defaults[name], match[1]
        if isinstance(value, bool):
            assert text == str(value).lower(), name
        else:
            read = size if text.endswith("B") else seconds if text[-1].isalpha() else float
            assert read(text) == value, name


def flags(command: argparse.ArgumentParser) -> Iterator[str]:
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from flags(inner)
        else:
            yield from (option for option in action.option_strings if option.startswith("--"))


def test_every_flag_is_in_the_table_of_commands_and_every_flag_there_exists() -> None:
    exist = set(flags(parser())) - {"--help", "--version"}
    assert set(re.findall(r"--[a-z][a-z.-]*[a-z]", COMMANDS)) == exist


def test_every_command_is_in_the_table_of_commands() -> None:
    subparsers = next(item for item in parser()._actions if isinstance(item, argparse._SubParsersAction))
    for name in subparsers.choices:
        assert f"`{name}" in COMMANDS


def test_every_metric_the_documents_name_exists() -> None:
    exposition = generate_latest(Metrics(["default"]).registry).decode()
    exist = set(re.findall(r"^# TYPE (coc_adapter_\w+)", exposition, re.MULTILINE))
    for document in PAGES:
        for name in re.findall(r"`(coc_adapter_[a-z_]+[a-z])[`{\[]", document.read_text()):
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            assert base in exist, f"{document.name} names {name}"


def test_the_first_configuration_of_the_readme_goes_as_shown(tmp_path: Path) -> None:
    """Up to `serve`, which needs COC."""
    shell = Terminal(tmp_path, {})
    done = []
    for part in blocks(ROOT / "README.md"):
        if part.section == "A first configuration" and part.path:
            shell.write(part)
        for command in part.commands if part.section == "A first configuration" else ():
            if command.text != "coc-adapter serve":
                shell.check(command)
            done.append(command.text)
    assert done[-2:] == ["coc-adapter check", "coc-adapter serve"]
    config = load_config(tmp_path / "mine" / "adapter.yml")
    assert list(config.integrations) == ["default"]
    assert load(tmp_path / "mine" / "mappings").revision


def test_the_readmes_alertmanager_snippet_is_yaml_with_one_receiver() -> None:
    snippet = yaml.safe_load(block(README, "yaml", "receivers:"))
    assert snippet["route"]["receiver"] == snippet["receivers"][0]["name"]
    assert snippet["receivers"][0]["webhook_configs"][0]["max_alerts"] == 0


def values_of(tree: object, prefix: str = "") -> Iterator[str]:
    """Every path of the chart's values."""
    if isinstance(tree, dict):
        for name, inner in tree.items():
            yield f"{prefix}{name}"
            yield from values_of(inner, f"{prefix}{name}.")


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name not in ("CHANGELOG.md", "CONTRIBUTING.md")], ids=place_of
)
def test_every_key_that_a_page_names_exists(page: Path) -> None:
    """Keys of adapter.yml, whole or as a section, and of the chart's values."""
    exist = {key[: at.start()] for key, _ in keys(Config) for at in re.finditer(r"\.|$", key)}
    exist |= set(values_of(yaml.safe_load((ROOT / "helm" / "coc-adapter" / "values.yaml").read_text())))
    named = re.findall(
        r"`((?:relay|webhook|limits|retention|reconcile|applications|log)\.[a-zA-Z_.]+[a-z])`", prose(page)
    )
    assert set(named) <= exist
