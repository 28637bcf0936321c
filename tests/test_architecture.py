"""`ls adapter/` is the architecture: imports run downwards, and the pure packages stay pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "adapter"

LAYERS = (
    {"__main__"},
    {"cli"},
    {"app"},
    {"reload", "intake", "applications", "tasks", "console"},
    {"config", "delivery", "metrics", "admin"},
    {"reconcile"},
    {"mapping", "store", "sandbox", "server"},
    {"coc"},
    {"logs", "lifecycle", "nodes", "history"},
    {"alertmanager", "alarm", "application", "matchers", "secret", "validation"},
    {"yamlfile", "pieces"},
    {"errors", "clock", "files", "memory", "table", "units", "yamltraps"},
)
"""From the top down; a package imports only from the layers below its own."""

PURE = (
    "alarm", "alertmanager", "application", "matchers", "nodes", "lifecycle", "history",
    "delivery/backoff", "delivery/decide",
    "admin/explain", "admin/sentences", "admin/refusals", "coc/fields", "coc/verdict", "pieces", "units",
    "mapping/render/request", "mapping/render/body", "mapping/render/uncarried", "mapping/render/engine",
    "mapping/render/protocol", "mapping/draft/frames", "mapping/draft/reading", "mapping/draft/tried",
    "mapping/tools/case_file", "mapping/tools/request", "mapping/tools/result", "mapping/tools/reference",
    "store/contract", "store/views", "store/plan", "store/backlog", "store/moving", "store/settlement",
    "store/records", "store/replay", "store/recent", "store/pruning", "store/tables", "store/url",
    "mapping/rules/applications", "mapping/rules/filters", "mapping/rules/language", "mapping/rules/lint",
    "mapping/rules/model", "mapping/rules/pasted", "mapping/rules/schema",
    "mapping/template/syntax", "mapping/template/habits", "mapping/template/words", "mapping/template/golang",
    "mapping/template/check", "mapping/template/kinds", "mapping/template/conditions", "mapping/template/texts",
    "console/charts", "console/language", "console/overview", "console/regions", "console/shown",
    "table", "validation", "yamltraps", "reconcile/snapshot", "reconcile/judge", "reconcile/intakes",
)  # fmt: skip
IMPURE = {"aiohttp", "sqlite3", "asyncpg", "logging", "time", "random", "socket", "os", "subprocess", "asyncio"}


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).with_suffix("").as_posix(), path


def imported(path: Path) -> Iterator[str]:
    """Every module a file imports, written in full; those under TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def packages(path: Path) -> set[str]:
    found = (name.split(".") for name in imported(path) if name.startswith("adapter."))
    return {parts[1] for parts in found} & set().union(*LAYERS)


def layer(package: str) -> int:
    return next(index for index, layers in enumerate(LAYERS) if package in layers)


def test_every_package_has_its_layer() -> None:
    found = {name.split("/")[0] for name, _ in modules()} - {"__init__"}
    assert found <= set().union(*LAYERS)


@pytest.mark.parametrize(("name", "path"), list(modules()), ids=[name for name, _ in modules()])
def test_imports_run_downwards(name: str, path: Path) -> None:
    package = name.split("/")[0]
    if package == "__init__":
        return
    upwards = {
        other
        for other in packages(path) - {package}
        if layer(other) <= layer(package)
    }  # fmt: skip
    assert not upwards, f"{name} imports {sorted(upwards)}, which stand above or beside it"


def test_no_modules_import_each_other_in_a_circle() -> None:
    names = {f"adapter.{name.replace('/', '.')}": set(imported(path)) for name, path in modules()}
    TopologicalSorter({name: found & names.keys() for name, found in names.items()}).prepare()


@pytest.mark.parametrize("name", PURE)
def test_the_pure_packages_know_no_network_disk_log_or_clock(name: str) -> None:
    path = PACKAGE / f"{name}.py"
    if not path.exists():
        pytest.fail(f"{name} is gone; name the module that took its place")
    assert not {module.split(".")[0] for module in imported(path)} & IMPURE


def test_intake_and_delivery_do_not_know_each_other() -> None:
    assert not {name for name, path in modules() if name.startswith("intake/") and "delivery" in packages(path)}
    assert not {name for name, path in modules() if name.startswith("delivery/") and "intake" in packages(path)}


def test_only_the_composition_root_and_the_commands_read_the_configuration() -> None:
    users = {name.split("/")[0] for name, path in modules() if "config" in packages(path)}
    assert users <= {"cli", "app", "reload", "config"}


def test_the_server_package_knows_nothing_of_what_it_serves() -> None:
    known = set().union(*(packages(path) for name, path in modules() if name.startswith("server/")))
    assert known <= {"server", "logs", "secret", "validation", "yamlfile", "errors", "clock", "files"}


def test_only_the_store_package_names_a_backend() -> None:
    backends = {"adapter.store.sqlite", "adapter.store.postgres", "adapter.store.memory"}
    users = [name for name, path in modules() if not name.startswith("store/") and backends & set(imported(path))]
    assert not users


def test_mapping_takes_nothing_of_coc_but_the_field_contract() -> None:
    taken = {
        module
        for name, path in modules()
        if name.startswith("mapping/")
        for module in imported(path)
        if module.startswith("adapter.coc.")
    }
    assert all(module == "adapter.coc.fields" or module.startswith("adapter.coc.fields.") for module in taken)


def test_mapping_rules_do_not_know_how_they_are_rendered() -> None:
    taken = {module for name, path in modules() if name.startswith("mapping/rules/") for module in imported(path)}
    assert not [module for module in taken if module.startswith(("adapter.mapping.render", "adapter.mapping.tools"))]


def test_every_traceback_is_logged_through_the_filter_of_repeats() -> None:
    users = {
        name
        for name, path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and (
            ast.unparse(node.func).endswith("logger.exception") or any(word.arg == "exc_info" for word in node.keywords)
        )
    }
    assert users <= {"logs", "server/listener"}  # the listener hands aiohttp's bugs to its own method


def test_nothing_is_called_utils() -> None:
    names = {part for name, _ in modules() for part in name.split("/")}
    assert not names & {"utils", "helpers", "common", "core", "misc", "manager"}
