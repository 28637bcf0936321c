"""`ls adapter/` is the architecture: imports run downwards, and the pure rooms stay pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "adapter"

LAYERS = (
    {"__main__"},
    {"cli"},
    {"demo", "operator"},
    {"app"},
    {"service"},
    {"web", "reload", "config"},
    {"intake", "delivery"},
    {"preparer"},
    {"courier"},
    {"gate", "settler", "decision"},
    {"metrics", "settings"},
    {"store", "mapping", "coc", "explain"},
    {"lifecycle", "retry", "logs", "adminclient"},
    {"alarm", "alertmanager", "yamlfile"},
    {"webhookjson"},
    {"secret", "units", "clock"},
    {"errors"},
)
"""From the top down; a room may import from its own layer only what `SIDEWAYS` says."""

SIDEWAYS = {
    ("web", "config"),  # the webhook's answers depend on the operator's choices
    ("reload", "config"),
    ("reload", "web"),  # certificates and users are among what is read again
    ("web", "service"),  # names the type only, under TYPE_CHECKING
    ("gate", "decision"),
    ("mapping", "coc"),  # coc.body alone: the field contract is what a mapping is for
    ("explain", "store"),  # its rows
    ("alarm", "clock"),
    ("reload", "delivery"),
    ("secret", "errors"),
}

PURE = (
    "alarm", "alertmanager", "lifecycle", "retry", "decision", "explain", "units", "coc/body", "coc/verdict",
    "mapping/program", "mapping/compose", "mapping/fallback", "store/base", "store/audit", "store/change",
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


def rooms(path: Path) -> set[str]:
    found = (name.split(".") for name in imported(path) if name.startswith("adapter."))
    return {parts[1] for parts in found} & set().union(*LAYERS)


def layer(room: str) -> int:
    return next(index for index, layers in enumerate(LAYERS) if room in layers)


def test_every_room_has_its_layer() -> None:
    found = {name.split("/")[0] for name, _ in modules()} - {"__init__"}
    assert found <= set().union(*LAYERS)


@pytest.mark.parametrize(("name", "path"), list(modules()), ids=[name for name, _ in modules()])
def test_imports_run_downwards(name: str, path: Path) -> None:
    room = name.split("/")[0]
    if room == "__init__":
        return
    upwards = {
        other
        for other in rooms(path) - {room}
        if layer(other) <= layer(room) and (room, other) not in SIDEWAYS
    }  # fmt: skip
    assert not upwards, f"{name} imports {sorted(upwards)}, which stand above or beside it"


@pytest.mark.parametrize("name", PURE)
def test_the_pure_rooms_know_no_network_disk_log_or_clock(name: str) -> None:
    path = PACKAGE / f"{name}.py"
    if not path.exists():
        pytest.fail(f"{name} is gone; name the module that took its place")
    assert not {module.split(".")[0] for module in imported(path)} & IMPURE


def test_intake_and_delivery_do_not_know_each_other() -> None:
    assert "delivery" not in rooms(PACKAGE / "intake.py")
    assert "intake" not in rooms(PACKAGE / "delivery.py")


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
    assert all(module == "adapter.coc.body" or module.startswith("adapter.coc.body.") for module in taken)


def test_nothing_is_called_utils() -> None:
    names = {part for name, _ in modules() for part in name.split("/")}
    assert not names & {"utils", "helpers", "common", "core", "misc", "manager"}
