"""A PostgreSQL server in a temporary folder, if Debian's package is installed."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.process import free_port, keep_to

_PROGRAMS: Final = Path("/usr/lib/postgresql")
_SETTINGS: Final = "-c shared_buffers=256MB -c max_wal_size=4GB"


def programs() -> Path | None:
    """The folder of the newest server's programs, if any."""
    versions = sorted(_PROGRAMS.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return versions[-1].parent if versions else None


class Server:
    def __init__(self, folder: Path, place: Path) -> None:
        self._folder, self._place, self._port = folder, place, free_port()
        self._run("initdb", "-D", f"{folder}/data", "-U", "app", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")
        options = f"-c listen_addresses=127.0.0.1 -p {self._port} -k {folder} {_SETTINGS}"
        self._run("pg_ctl", "-D", f"{folder}/data", "-w", "-l", f"{folder}/log", "-o", options, "start")

    @property
    def pid(self) -> int:
        """The server's process; each connection is a child of it."""
        return int((self._folder / "data" / "postmaster.pid").read_text().split("\n", 1)[0])

    def dsn(self, database: str) -> str:
        return f"postgresql://app@127.0.0.1:{self._port}/{database}"

    def new_database(self, name: str) -> str:
        self._run("createdb", "-h", "127.0.0.1", "-p", f"{self._port}", "-U", "app", name)
        return self.dsn(name)

    def stop(self) -> None:
        self._run("pg_ctl", "-D", f"{self._folder}/data", "-m", "immediate", "-w", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        command = [*_as_nobody(), str(self._place / program), *arguments]
        done = subprocess.run(
            command,
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=60,
            preexec_fn=lambda: keep_to(None),
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr.decode(errors='replace')}")


@contextmanager
def server(place: Path) -> Iterator[Server]:
    """Run a server and remove it at the end. fsync and synchronous_commit are on, by the server's defaults."""
    # The server's user may have no access to the folder of the sources.
    folder = Path(tempfile.mkdtemp(prefix="bench-pg-", dir="/var/tmp"))
    try:
        if os.geteuid() == 0:
            user = pwd.getpwnam("nobody")
            os.chown(folder, user.pw_uid, user.pw_gid)
        running = Server(folder, place)
        try:
            yield running
        finally:
            running.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _as_nobody() -> list[str]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam("nobody")
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
