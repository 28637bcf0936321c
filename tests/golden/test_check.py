"""The output of `check` for valid and wrong files, with carets."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.golden.normal import SOURCES, place
from tests.golden.recording import same
from tests.golden.terminal import run
from tests.stage import REPOSITORY

CONFIGS = sorted((REPOSITORY / "tests" / "data" / "bad_configs").glob("*.yml"))
MAPPINGS = sorted((REPOSITORY / "tests" / "data" / "bad_mappings").glob("*.yaml"))
GOOD = """\
integrations:
  default:
    site: cn
    integration_key: the-key-itself
"""


def written(folder: Path, mappings: str = "") -> Path:
    """A folder with a valid adapter.yml, which names the mappings if any."""
    folder.mkdir(exist_ok=True)
    (folder / "adapter.yml").write_text(f"mappings: {mappings}\n{GOOD}" if mappings else GOOD)
    return folder


def checked(folder: Path) -> str:
    """The output of `check` for the adapter.yml in `folder`."""
    return run("check", folder=folder).text(place(folder.resolve(), "FOLDER"), SOURCES)


def test_every_bad_config_is_reported_as_recorded() -> None:
    assert len(CONFIGS) > 20
    outputs = [run("check", f"--config.file=tests/data/bad_configs/{path.name}").text(SOURCES) for path in CONFIGS]
    same("check_bad_configs.txt", "\n".join(outputs))


def test_every_bad_mapping_is_reported_as_recorded(tmp_path: Path) -> None:
    assert len(MAPPINGS) > 80
    outputs = []
    for path in MAPPINGS:
        folder = written(tmp_path / path.stem, "mappings")
        (folder / "mappings").mkdir()
        shutil.copy(path, folder / "mappings")
        outputs.append(f"# {path.name}\n{checked(folder)}")
    same("check_bad_mappings.txt", "\n".join(outputs))


@pytest.mark.parametrize(
    ("name", "mappings", "files"),
    [
        ("shipped", "", ()),
        ("two_bad_files", "mappings", ("rules_empty.yaml", "unknown_filter.yaml")),
        ("empty_folder", "mappings", ()),
    ],
)
def test_a_whole_configuration_is_checked_as_recorded(
    name: str, mappings: str, files: tuple[str, ...], tmp_path: Path
) -> None:
    folder = written(tmp_path / name, mappings)
    (folder / "mappings").mkdir()
    for file in files:
        shutil.copy(REPOSITORY / "tests" / "data" / "bad_mappings" / file, folder / "mappings")
    same(f"check_{name}.txt", checked(folder))


def test_mappings_alone_need_no_config(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    good = "rules: [{name: all, drop: true}]\n"
    (tmp_path / "maps" / "a.yaml").write_text(good)
    ended = run("check", "--mappings=maps", folder=tmp_path)
    assert (ended.out, ended.code) == ("mappings maps: good\n", 0)
    (tmp_path / "maps" / "a.yaml").write_text(good.replace("drop", "drob"))
    ended = run("check", "--mappings=maps", folder=tmp_path)
    assert ended.out.startswith("maps/a.yaml:1:")
    assert ended.code == 1
    ended = run("check", "--mappings=maps", "--config.file=adapter.yml", folder=tmp_path)
    assert ended.out.startswith("adapter.yml:0:0: cannot be read")
    assert "maps/a.yaml:1:" in ended.out


def test_a_bad_config_with_bad_mappings_is_reported_as_recorded(tmp_path: Path) -> None:
    folder = written(tmp_path / "both", "mappings")
    with (folder / "adapter.yml").open("a") as config:
        config.write("retention: {dead: soon}\nlimit: {backlog: 5}\n")
    (folder / "mappings").mkdir()
    shutil.copy(REPOSITORY / "tests" / "data" / "bad_mappings" / "rules_empty.yaml", folder / "mappings")
    same("check_config_and_mappings.txt", checked(folder))


def test_a_missing_config_is_reported_as_recorded(tmp_path: Path) -> None:
    same("check_no_config.txt", checked(tmp_path))
