"""The Dockerfile, and the image that Debian's buildah builds from it.

The base image is made by Debian's debootstrap, without a registry. The image runs as its numeric user on a read-only
file system, as in the chart.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.needs import needs, unavailable

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
_LINES = [line for line in re.sub(r"\\\n\s*", "", DOCKERFILE).splitlines() if line and not line.startswith("#")]
_STAGES = [index for index, line in enumerate(_LINES) if line.startswith("FROM ")]
_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


# The Dockerfile ------------------------------------------------------------------------------------------------------


def _instructions(name: str, *, final: bool = False) -> list[str]:
    lines = _LINES[_STAGES[-1] :] if final else _LINES
    return [line.removeprefix(name).strip() for line in lines if line.startswith(f"{name} ")]


def test_both_stages_use_the_base_of_the_build_argument() -> None:
    assert _LINES[0].startswith("ARG BASE=")
    assert [line.split()[1] for line in _LINES if line.startswith("FROM ")] == ["${BASE}", "${BASE}"]


def test_no_command_goes_through_a_shell() -> None:
    for name in ("RUN", "ENTRYPOINT", "CMD"):
        for command in _instructions(name):
            assert all(isinstance(word, str) for word in json.loads(command)), command
    assert "sh" not in {json.loads(command)[0] for command in _instructions("RUN")}


def test_every_download_is_locked_by_hash() -> None:
    installs = [json.loads(command) for command in _instructions("RUN") if '"install"' in command]
    assert len(installs) == 3
    for words in installs:
        assert "--require-hashes" in words or {"--no-index", "--no-deps"} <= set(words)
    assert not _instructions("ADD"), "ADD can fetch"


def test_the_final_stage_only_copies_from_the_first() -> None:
    assert not _instructions("RUN", final=True)
    assert all(copy.startswith("--from=build ") for copy in _instructions("COPY", final=True))
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", _instructions("USER", final=True)[0]), "runAsNonRoot needs a numeric user"
    assert json.loads(_instructions("ENTRYPOINT")[0]) == ["coc-adapter"]


def test_the_labels_have_the_version_and_description_of_the_package() -> None:
    assert f"VERSION={_PROJECT['version']}" in _instructions("ARG", final=True)
    labels = dict(word.split("=", 1) for word in shlex.split(_instructions("LABEL")[0]))
    assert labels["org.opencontainers.image.version"] == "${VERSION}"
    assert labels["org.opencontainers.image.title"] == _PROJECT["name"]
    assert labels["org.opencontainers.image.description"] == _PROJECT["description"]
    assert labels["org.opencontainers.image.licenses"] == _PROJECT["license"]


def test_the_build_context_has_exactly_what_is_copied() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert rules[0] == "*"
    included = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    copied = {source for copy in _instructions("COPY") if "--from" not in copy for source in copy.split()[:-1]}
    assert included == copied


# The image ----------------------------------------------------------------------------------------------------

# Mounts the image read-only, with a /tmp to write to, and runs a command in it as its user, without new privileges.
_CONTAINED = """
set -e
mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
mount -t tmpfs -o mode=1777,size=64m tmpfs "$1/tmp"
mount -t proc proc "$1/proc"
mount --bind /dev "$1/dev"
root=$1 user=$2
shift 2
exec setpriv --no-new-privs chroot --userspec="$user" "$root" env -i HOME=/tmp "$@"
"""


class Image:
    """A built and mounted image; `run` runs one command in it."""

    def __init__(self, root: Path, config: dict[str, Any]) -> None:
        self.root = root
        self.config = config

    def run(self, *command: str, timeout: float = 90) -> subprocess.CompletedProcess[str]:
        arguments = [str(self.root), self.config["User"], *self.config["Env"], *command]
        unshared = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _CONTAINED, "sh"]
        return subprocess.run([*unshared, *arguments], capture_output=True, text=True, timeout=timeout)

    def coc_adapter(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(*self.config["Entrypoint"], *arguments)


class _Buildah:
    def __init__(self, folder: Path) -> None:
        storage = ["--storage-driver=vfs", f"--root={folder / 'storage'}", f"--runroot={folder / 'run'}"]
        self._command = [needs("buildah"), *storage]
        self._environment = os.environ | {"TMPDIR": str(folder)}

    def __call__(self, *arguments: str, timeout: float = 240) -> str:
        command = [*self._command, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=self._environment)
        assert done.returncode == 0, f"buildah {arguments[0]}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout.strip()


def _pip_settings() -> tuple[str, list[str]]:
    """A pip.conf with this machine's package index for the build, and the volumes it needs."""
    done = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, timeout=60)
    settings = dict(re.findall(r"^(?:global|user|site|:env:)\.([a-z-]+)='(.*)'$", done.stdout, re.MULTILINE))
    kept = {key: settings[key] for key in ("index-url", "cert", "proxy", "trusted-host") if key in settings}
    volumes = [f"--volume={(folder := Path(kept['cert']).parent)}:{folder}:ro"] if "cert" in kept else []
    return "\n".join(["[global]", *(f"{key} = {value}" for key, value in kept.items())]) + "\n", volumes


def _base(buildah: _Buildah) -> str:
    """A base image: Debian's smallest system with Python."""
    container = buildah("from", "scratch")
    debootstrap: Sequence[str] = [
        needs("debootstrap"),
        "--variant=minbase",
        "--include=python3,python3-venv",
        "bookworm",
    ]
    done = subprocess.run([*debootstrap, buildah("mount", container)], capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        unavailable(f"debootstrap failed: {done.stdout[-500:]}{done.stderr[-500:]}")
    buildah("commit", "--rm", "--disable-compression", container, "base")
    return "localhost/base"


@contextmanager
def _in_memory(folder: Path) -> Iterator[None]:
    """Mount a file system in memory, where the builder copies faster; without permission use the disk."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4g", "tmpfs", str(folder)], check=False, timeout=60)
    try:
        yield
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", str(folder)], check=True, timeout=60)
        subprocess.run(["rm", "-rf", str(folder)], check=True, timeout=120)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    if os.geteuid() != 0:
        unavailable("debootstrap and mounts need root")
    needs("buildah")
    needs("debootstrap")
    folder = tmp_path_factory.mktemp("image")
    with _in_memory(folder):
        buildah = _Buildah(folder)
        settings, volumes = _pip_settings()
        (folder / "pip.conf").write_text(settings)
        base = _base(buildah)
        volumes.append(f"--volume={folder / 'pip.conf'}:/etc/pip.conf:ro")
        build = ["bud", "--isolation=chroot", "--layers=false", f"--build-arg=BASE={base}", "--tag=coc-adapter"]
        buildah(*build, *volumes, f"--file={ROOT / 'Dockerfile'}", str(ROOT))
        config = json.loads(buildah("inspect", "--type=image", "localhost/coc-adapter"))["OCIv1"]["config"]
        container = buildah("from", "localhost/coc-adapter")
        yield Image(Path(buildah("mount", container)), config)
        buildah("umount", container)


pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("image")]


def test_the_demo_succeeds_as_a_numeric_user_on_a_read_only_root(image: Image) -> None:
    done = image.coc_adapter("demo", "--once")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "exactly what was due" in done.stdout


def test_the_root_is_read_only_and_the_user_has_no_capabilities(image: Image) -> None:
    """The test above ran under these conditions."""
    script = """
import errno, os
for folder in ("/", "/etc", "/opt/coc-adapter", "/var/lib/coc-adapter"):
    try:
        open(folder + "/x", "w")
    except OSError as exc:
        assert exc.errno == errno.EROFS, (folder, exc)
    else:
        raise SystemExit(folder + " can be written to")
open("/tmp/x", "w").close()
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
assert int(status.get("CapEff", "0"), 16) == 0, status
print(os.getuid(), os.getgid(), os.getgroups())
"""
    done = image.run("python3", "-c", script)
    assert (done.returncode, done.stdout.strip()) == (0, "10001 10001 []"), done.stderr


def test_the_built_in_mappings_are_in_the_image_and_pass_check(image: Image, tmp_path: Path) -> None:
    shipped = {path.name for path in (ROOT / "mappings").glob("*.yaml")}
    script = "import adapter.mapping as m; print(*(p.name for p in m.shipped().glob('*.yaml')))"
    done = image.run("python3", "-c", script)
    assert set(done.stdout.split()) == shipped, done.stderr
    assert shipped
    config = "integrations: {default: {site: cn, integration_key: key}}\n"
    script = f"import pathlib, sys, adapter.cli.main; pathlib.Path('/tmp/a.yml').write_text({config!r}); "
    done = image.run("python3", "-c", script + "sys.exit(adapter.cli.main.main(['check', '--config.file=/tmp/a.yml']))")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_has_user_entrypoint_and_version(image: Image) -> None:
    assert image.config["User"] == "10001:10001"
    assert image.config["Entrypoint"] == ["coc-adapter"]
    assert image.config["Cmd"][0] == "serve"
    assert image.config["WorkingDir"] == "/var/lib/coc-adapter"
    assert image.config["Labels"]["org.opencontainers.image.version"] == _PROJECT["version"]
    done = image.coc_adapter("--version")
    assert done.stdout.strip() == f"coc-adapter {_PROJECT['version']}"
    data = (image.root / "var/lib/coc-adapter").stat()
    assert (data.st_uid, data.st_gid) == (10001, 10001)


def test_the_image_has_nothing_of_the_build(image: Image) -> None:
    home = image.root / "opt/coc-adapter"
    packages = {path.name.split("-")[0].lower() for path in home.glob("lib/*/site-packages/*.dist-info")}
    assert {"aiohttp", "asyncpg", "coc_adapter"} <= packages
    assert not packages & {"pip", "setuptools", "wheel", "hatchling", "uv", "pytest"}
    assert not any((image.root / name).exists() for name in ("src", "build", "wheel", "data"))
    assert not list(home.glob("lib/*/site-packages/tests"))
    text = (image.root / "etc/pip.conf").read_text() if (image.root / "etc/pip.conf").exists() else ""
    assert not text


def test_only_root_can_write_to_the_installed_files(image: Image) -> None:
    for path in (image.root / "opt/coc-adapter").rglob("*"):
        status = path.lstat()
        assert status.st_uid == 0, path
        assert path.is_symlink() or not status.st_mode & 0o022, path
