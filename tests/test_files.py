"""A file that people name is asked for its type and size before anything of it is read."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from adapter.coc.endpoint import Endpoint, EndpointProblem
from adapter.files import content
from adapter.secret import Secret
from tests.mapping.builders import one_rule
from tests.stage import REPOSITORY

GIB = 1024**3


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(3 * GIB)


KINDS: dict[str, tuple[Callable[[Path], None], str]] = {
    "3 GiB": (sparse, "larger than"),
    "a FIFO": (os.mkfifo, "not a regular file"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
}
CONFIG = "mappings: mappings\nintegrations: {{default: {{site: cn, integration_key{0}}}}}\n"
CASES = "tests: [{name: one, payload: odd.yaml, expect: {rule: all}}]\n"
PORTS = ("--web.listen-address=127.0.0.1:0", "--web.admin-address=127.0.0.1:0")


def ran(folder: Path, *words: str) -> str:
    """The output of a command that may have 1 GiB of memory."""
    ended = subprocess.run(
        [sys.executable, "-m", "adapter", *words],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True, timeout=30,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (GIB, GIB)),
    )  # fmt: skip
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    return ended.stdout + ended.stderr


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "key", "words"),
    [
        ("mappings/a.yaml", ": k", ("check",)),
        ("odd.yaml", ": k", ("check", "--config.file=odd.yaml")),
        ("odd.yaml", "_file: odd.yaml", ("check",)),
        ("odd.yaml", ": k", ("serve", "--web.config.file=odd.yaml", *PORTS)),
        ("odd.yaml", ": k", ("serve", "--web.config.file=web.yml", *PORTS)),
        ("odd.yaml", ": k", ("test", "--mappings=mappings", "odd.yaml")),
        ("odd.yaml", ": k", ("test", "--mappings=mappings", "cases.yaml")),
    ],
    ids=["mapping", "adapter.yml", "secret", "web config", "certificate", "cases", "payload of a case"],
)
def test_no_file_that_people_name_can_hang_a_command_or_fill_its_memory(
    name: str, key: str, words: tuple[str, ...], kind: str, tmp_path: Path
) -> None:
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings" / "b.yaml").write_text(one_rule())
    (tmp_path / "adapter.yml").write_text(CONFIG.format(key))
    (tmp_path / "web.yml").write_text("tls_server_config: {cert_file: odd.yaml, key_file: odd.yaml}\n")
    (tmp_path / "cases.yaml").write_text(CASES)
    make, says = KINDS[kind]
    make(tmp_path / name)
    assert says in ran(tmp_path, *words)


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_the_integration_cannot_hang_it_either(kind: str, tmp_path: Path) -> None:
    """They may become something else while the service runs, so that only the read itself can refuse them."""
    path = tmp_path / "file"
    path.write_text("s3cr3t")
    secret = Secret(path=path)
    path.unlink()
    KINDS[kind][0](path)
    assert secret.refresh() is False
    assert secret.get() == "s3cr3t"
    endpoint = Endpoint(base_url="https://coc.test", integration_key=secret, ca_file=path)
    assert endpoint.tls_files() == (b"",)
    with pytest.raises(EndpointProblem, match="a file of tls_config cannot be used"):
        endpoint.tls_context()


def test_a_file_without_a_size_is_not_read(tmp_path: Path) -> None:
    assert content(Path("/proc/self/status"), GIB) == b""
