"""The output and exit code of `serve` when it cannot start."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tests.golden.normal import SOURCES, place, rule
from tests.golden.recording import same
from tests.golden.terminal import Ran, run_apart

CONFIG = """\
integrations:
  default:
    base_url: http://127.0.0.1:9
    allow_http: true
    integration_key: the-key-itself
"""
NEWER = 9999  # a version of the store's schema that no release will reach

# The port in use differs between runs.
PORT = rule(r"(127\.0\.0\.1', |127\.0\.0\.1:)[1-9]\d{3,4}\b", r"\1PORT")


def served(folder: Path, *flags: str) -> Ran:
    """Run `serve` on ports that the system chooses until it ends."""
    addresses = ("--web.listen-address", "--web.admin-address")
    given = [f"{name}=127.0.0.1:0" for name in addresses if not any(flag.startswith(name) for flag in flags)]
    return run_apart("serve", *flags, *given, folder=folder)._replace(words=("serve", *flags))


def configured(folder: Path, more: str = "") -> Path:
    folder.mkdir()
    (folder / "adapter.yml").write_text(CONFIG + more)
    return folder


def database(path: Path, statement: str) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)


def cases(tmp_path: Path, port: int) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """A folder and flags for a start."""
    plain = configured(tmp_path / "plain")
    (tmp_path / "no_config").mkdir()
    yield tmp_path / "no_config", ()
    yield plain, ("--web.listen-address=:0",)
    yield plain, ("--web.admin-address=0.0.0.0:0",)
    yield plain, ("--web.listen-address=[::]:0", "--log.format=json")
    yield plain, ("--web.config.file=missing.yml",)
    (plain / "web.yml").write_text("basic_auth_users: {operator: plain-text}\ntls: {}\n")
    yield plain, ("--web.config.file=web.yml",)
    yield configured(tmp_path / "taken"), (f"--web.listen-address=127.0.0.1:{port}",)
    yield configured(tmp_path / "unknown_key", "limit: {backlog: 1}\n"), ()
    yield configured(tmp_path / "secret", "webhook: {bearer_token_file: missing}\n"), ()
    yield configured(tmp_path / "store", "store: mysql://db\n"), ()
    newer = configured(tmp_path / "newer")
    database(newer / "data" / "adapter.db", f"PRAGMA user_version = {NEWER}")
    yield newer, ()
    foreign = configured(tmp_path / "foreign")
    database(foreign / "data" / "adapter.db", "CREATE TABLE theirs (id)")
    yield foreign, ()
    blocked = configured(tmp_path / "blocked")
    (blocked / "data").write_text("a file, not a folder")
    yield blocked, ()


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that another socket listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_refused_starts_are_reported_as_recorded(tmp_path: Path, taken: int) -> None:
    starts = list(cases(tmp_path, taken))
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda start: served(start[0], *start[1]), starts))
    assert {ran.code for ran in ended} == {1}
    outputs = [f"# {folder.name}\n{ran.text(SOURCES, PORT)}" for (folder, _), ran in zip(starts, ended, strict=True)]
    same("start_refusals.txt", place(tmp_path, "FOLDER").on("\n".join(outputs)))
