"""A revision is in force as a whole or not at all, and a broken one never."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapter.errors import MappingError
from adapter.mapping.render.live import LiveMappings
from adapter.mapping.rules.files import snapshot
from tests.mapping.builders import SOUND, a_request, one_rule, opened, reasons, rules, workers, write
from tests.mapping.hostile import HOSTILE, trap

BROKEN = one_rule(resourceName="{{ lables.pod }}")


def two_fields(word: str) -> str:
    """Two fields that say which file they come from."""
    return one_rule(resourceName=f"{word} {{{{ labels.pod }}}}", resourceId=word)


async def test_a_changed_file_is_taken_over(tmp_path: Path) -> None:
    write(tmp_path, a=two_fields("old"))
    async with opened(tmp_path) as mappings:
        before = mappings.revision
        write(tmp_path, a=two_fields("new"))
        assert await mappings.reload() is True
        assert mappings.revision != before
        (result,) = await mappings.render([a_request()])
        assert (result.body or {})["resourceId"] == "new"
        assert result.revision == mappings.revision == (result.body or {})["additional"]["mappingRevision"]


async def test_files_that_did_not_change_are_left_alone(tmp_path: Path) -> None:
    write(tmp_path, a=two_fields("old"))
    async with opened(tmp_path) as mappings:
        pids = workers()
        os.utime(tmp_path / "a.yaml")
        assert await mappings.reload() is False
        assert workers() == pids


async def test_a_renamed_file_is_another_revision(tmp_path: Path) -> None:
    """The name decides the order and stands in `additional`."""
    write(tmp_path, a=two_fields("x"))
    async with opened(tmp_path) as mappings:
        (tmp_path / "a.yaml").rename(tmp_path / "b.yaml")
        assert await mappings.reload() is True


async def test_a_broken_revision_is_refused_and_the_old_one_goes_on(tmp_path: Path) -> None:
    write(tmp_path, a=two_fields("old"))
    async with opened(tmp_path) as mappings:
        before = mappings.revision
        write(tmp_path, a=BROKEN)
        for _ in range(2):  # for as long as it is broken
            assert await mappings.reload() is False
            assert [finding.message for finding in mappings.findings] == ["unknown name 'lables'"]
            assert (mappings.revision, mappings.refused) == (before, True)
        (result,) = await mappings.render([a_request()])
        assert (result.body or {})["resourceId"] == "old"
        write(tmp_path, a=two_fields("mended"))
        assert await mappings.reload() is True
        assert (mappings.findings, mappings.refused) == ((), False)


async def test_a_set_with_warnings_serves_and_they_are_told_until_it_is_mended(tmp_path: Path) -> None:
    dubious = one_rule(resourceName="{{ 'x' if labels.a in 'dev' }}", resourceId="dubious")
    write(tmp_path, a=dubious)
    async with opened(tmp_path) as mappings:
        assert [finding.severity for finding in mappings.findings] == ["warning"]
        assert not mappings.refused
        before = mappings.findings
        write(tmp_path, a=BROKEN)
        assert await mappings.reload() is False
        assert [finding.severity for finding in mappings.findings] == ["error"]
        write(tmp_path, a=dubious)
        assert await mappings.reload() is False
        assert (mappings.findings, mappings.refused) == (before, False)
        write(tmp_path, a=two_fields("sound"))
        assert await mappings.reload() is True
        assert mappings.findings == ()
        write(tmp_path, a=dubious)
        assert await mappings.reload() is True
        assert mappings.findings == before
        (result,) = await mappings.render([a_request()])
        assert (result.body or {})["resourceId"] == "dubious"


class BrokenFolder(type(Path())):  # type: ignore[misc]
    """A folder on a disk that no code of ours has foreseen, once `broken` is set."""

    broken = False

    def iterdir(self) -> Iterator[Path]:
        if self.broken:
            raise RuntimeError("unforeseen")
        yield from super().iterdir()


async def test_whatever_goes_wrong_is_a_finding_and_the_rules_in_force_serve_on(tmp_path: Path) -> None:
    write(tmp_path / "rules", a=two_fields("old"))
    write(tmp_path / "shipped", a=two_fields("shipped"))
    folder = BrokenFolder(tmp_path / "rules")
    async with opened(folder) as mappings:
        folder.broken = True
        assert await mappings.reload() is False
        (finding,) = mappings.findings
        assert finding.message == "the rules cannot be tried out: RuntimeError: unforeseen"
        (result,) = await mappings.render([a_request()])
        assert (result.body or {})["resourceId"] == "old"
    async with opened(folder, instead=tmp_path / "shipped") as mappings:
        assert mappings.findings == (finding,)
        (result,) = await mappings.render([a_request()])
        assert (result.body or {})["resourceId"] == "shipped"


async def test_a_broken_change_taken_back_is_forgotten(tmp_path: Path) -> None:
    write(tmp_path, a=two_fields("old"))
    async with opened(tmp_path) as mappings:
        write(tmp_path, a=BROKEN)
        await mappings.reload()
        assert mappings.findings
        write(tmp_path, a=two_fields("old"))
        assert await mappings.reload() is False
        assert (mappings.findings, mappings.refused) == ((), False)


async def test_a_file_caught_half_written_is_refused(tmp_path: Path) -> None:
    whole = two_fields("new")
    write(tmp_path, a=two_fields("old"))
    async with opened(tmp_path) as mappings:
        for part in (0.2, 0.5, 0.9):
            write(tmp_path, a=whole[: int(len(whole) * part)])
            assert await mappings.reload() is False
            assert mappings.refused
        write(tmp_path, a=whole)
        assert await mappings.reload() is True


async def test_a_directory_that_vanished_leaves_the_old_revision(tmp_path: Path) -> None:
    directory = write(tmp_path / "mappings", a=two_fields("old"))
    async with opened(directory) as mappings:
        (directory / "a.yaml").unlink()
        directory.rmdir()
        assert await mappings.reload() is False
        assert "No such file or directory" in mappings.findings[0].message
        (result,) = await mappings.render([a_request()])
        assert (result.body or {})["resourceId"] == "old"


@pytest.mark.parametrize("name", ["endless", "huge_text"])
async def test_a_revision_that_wants_too_much_of_a_plain_alert_is_refused(name: str, tmp_path: Path) -> None:
    write(tmp_path, a=two_fields("old"))
    async with opened(tmp_path, deadline=0.2) as mappings:
        pids = workers()
        write(tmp_path, a=one_rule(resourceName=HOSTILE[name]))
        for _ in range(2):
            assert await mappings.reload() is False
            (finding,) = mappings.findings
            assert re.search(r"a\.yaml:1:\d+: tried on a plain alert, the template wants too much: ", str(finding))
            assert workers() == pids


async def test_a_reload_without_a_worker_process_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is wrong with the files, so they do not have to change first."""
    write(tmp_path, a=two_fields("old"))
    async with opened(tmp_path) as mappings:
        write(tmp_path, a=two_fields("new"))
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", str(tmp_path / "missing"))
            assert await mappings.reload() is False
        (finding,) = mappings.findings
        assert finding.message.startswith("the rules cannot be tried out: cannot be started: ")
        assert await mappings.reload() is True
        assert mappings.findings == ()


async def test_at_a_start_rules_that_want_too_much_of_a_plain_alert_serve_with_a_finding(tmp_path: Path) -> None:
    """There is nothing older. The first template that is stopped ends the trial; other rules are as written."""
    stops = {"name": "stops", "when": "labels.n", "alarm": {**SOUND, "resourceName": HOSTILE["endless"]}}
    write(tmp_path, a=rules(stops, {"name": "rest", "alarm": SOUND}))
    async with opened(tmp_path, deadline=0.2) as mappings:
        (finding,) = mappings.findings
        assert "tried on a plain alert" in finding.message
        assert not mappings.refused
        results = await mappings.render([a_request({"n": "1"}), a_request()])
        assert [one.rule for one in results] == ["stops", "rest"]
        assert [reasons(one).get("resourceName") for one in results] == ["timeout", None]
        assert not await mappings.reload()
        assert mappings.findings == (finding,)
    assert workers() == []


async def test_other_rules_serve_until_broken_ones_are_mended(tmp_path: Path) -> None:
    directory = write(tmp_path / "mappings", a=BROKEN)
    instead = write(tmp_path / "instead", a=two_fields("instead"))
    async with opened(directory, instead=instead) as mappings:
        for _ in range(2):
            assert [finding.message for finding in mappings.findings] == ["unknown name 'lables'"]
            assert mappings.refused
            (result,) = await mappings.render([a_request()])
            assert (result.body or {})["resourceId"] == "instead"
            assert await mappings.reload() is False
        write(directory, a=two_fields("mended"))
        assert await mappings.reload() is True
        (result,) = await mappings.render([a_request()])
        assert (result.body or {})["resourceId"] == "mended"
        assert (mappings.findings, mappings.refused) == ((), False)


async def test_broken_rules_cannot_be_opened_by_themselves(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="unknown name 'lables'"):
        await LiveMappings.open(write(tmp_path, a=BROKEN))
    assert workers() == []


async def test_a_new_revision_may_run_what_the_old_one_may_not(tmp_path: Path) -> None:
    write(tmp_path, a=one_rule(resourceName=trap(HOSTILE["endless"])))
    async with opened(tmp_path, deadline=0.2) as mappings:
        (result,) = await mappings.render([a_request({"trap": "yes"})])
        assert reasons(result)["resourceName"] == "timeout"
        write(tmp_path, a=one_rule(resourceName="mended"))
        await mappings.reload()
        (result,) = await mappings.render([a_request({"trap": "yes"})])
        assert reasons(result) == {}


def mount(directory: Path, generation: int, **files: str) -> None:
    """As the kubelet writes a ConfigMap: links to a hidden folder through `..data`, which is swapped by a rename."""
    directory.mkdir(exist_ok=True)
    folder = write(directory / f"..2026_{generation}", **files)
    (directory / "..data_tmp").symlink_to(folder.name)
    (directory / "..data_tmp").rename(directory / "..data")
    for name in files:
        link = directory / f"{name}.yaml"
        if not link.is_symlink():
            link.symlink_to(f"..data/{name}.yaml")


async def test_a_config_map_is_followed_twice_in_a_row(tmp_path: Path) -> None:
    directory = tmp_path / "mounted"
    mount(directory, 0, a=two_fields("first"))
    async with opened(directory) as mappings:
        for generation, word in enumerate(("second", "third"), 1):
            mount(directory, generation, a=two_fields(word))
            assert await mappings.reload() is True
            (result,) = await mappings.render([a_request()])
            assert (result.body or {})["resourceId"] == word


def test_a_set_is_never_read_half_from_before_a_swap(tmp_path: Path) -> None:
    """Two files that belong together, swapped by another thread while they are read."""
    directory = tmp_path / "mounted"
    mount(directory, 0, a="0", b="0")
    stop = threading.Event()

    def swap() -> None:
        generation = 1
        while not stop.wait(0.0005):
            mount(directory, generation, a=str(generation), b=str(generation))
            generation += 1

    swapping = threading.Thread(target=swap)
    swapping.start()
    whole = 0
    try:
        for _ in range(300):
            with contextlib.suppress(MappingError):  # it may be refused for changing all the time
                (_, first), (_, second) = snapshot(directory).files
                assert first == second
                whole += 1
    finally:
        stop.set()
        swapping.join()
    assert whole > 0


RELOADS = 20  # the long run sets MAPPING_RELOADS=1000


async def test_reloads_under_load_lose_nothing_and_mix_nothing(tmp_path: Path) -> None:
    """Some sets are broken; every render gives every alert, all of them by one revision, fields and all."""
    chance = random.Random(7)
    write(tmp_path, a=two_fields("w0"))
    words: dict[str, str] = {}
    done = False
    calls = 0

    async def render(mappings: LiveMappings) -> None:
        nonlocal calls
        while not done:
            results = await mappings.render([a_request({"pod": f"p{number}"}) for number in range(130)])
            calls += 1
            (revision,) = {one.revision for one in results}
            seen = {(one.body or {})["resourceId"] for one in results}
            assert seen == {words[revision]}, "one revision, one set of templates"
            assert [(one.body or {})["resourceName"] for one in results] == [
                f"{words[revision]} p{number}" for number in range(130)
            ]

    async with opened(tmp_path) as mappings:
        words[mappings.revision] = "w0"
        load = [asyncio.create_task(render(mappings)) for _ in range(2)]
        refused = 0
        for number in range(1, int(os.environ.get("MAPPING_RELOADS", RELOADS)) + 1):
            if chance.random() < 0.3:
                write(tmp_path, a=BROKEN)
                assert await mappings.reload() is False
                refused += mappings.refused
                continue
            write(tmp_path, a=two_fields(f"w{number}"))
            words.update({snapshot(tmp_path).revision: f"w{number}"})
            assert await mappings.reload() is True
            assert not any(task.done() for task in load), [task.exception() for task in load if task.done()]
        done = True
        await asyncio.gather(*load)
        assert calls > 2
        assert refused > 0
        assert len(workers()) == 1
    assert workers() == []


async def test_reloads_at_the_same_time_do_it_once(tmp_path: Path) -> None:
    write(tmp_path, a=two_fields("old"))
    async with opened(tmp_path) as mappings:
        write(tmp_path, a=two_fields("new"))
        assert sorted(await asyncio.gather(*[mappings.reload() for _ in range(3)])) == [False, False, True]
        assert len(workers()) == 1
