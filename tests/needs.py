"""Programs that PyPI does not have: a test that needs one skips with a reason, or fails under REQUIRE_ALL=1."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

_DEBIAN = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "amtool": "prometheus-alertmanager",
    "initdb": "postgresql-15",
    "pg_ctl": "postgresql-15",
    "pgbouncer": "pgbouncer",
    "tinyproxy": "tinyproxy",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "chromium": "chromium",
}


def installed(program: str) -> str | None:
    """The program's path, if there is one."""
    search_path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", *_postgres_folders()])
    return shutil.which(program, path=search_path)


def needs(program: str) -> str:
    """Return the program's path; without it skip the test, or fail under REQUIRE_ALL=1."""
    path = installed(program)
    if path is None:
        unavailable(f"{program} is not installed; on Debian: apt-get install {_DEBIAN[program]}")
    return path


def unavailable(reason: str) -> NoReturn:
    """Skip, or fail under REQUIRE_ALL=1."""
    if os.environ.get("REQUIRE_ALL") == "1":
        pytest.fail(f"REQUIRE_ALL=1, but {reason}")
    pytest.skip(reason)


def _postgres_folders() -> list[str]:
    return [str(folder) for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
