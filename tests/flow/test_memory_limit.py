"""A limit of the process's memory: the start says it, large bodies are answered 503, and nothing is blamed for it."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stage import Adapter, adapter, alert, drained, post, sandbox, until, webhook, write_config

MIB = 1 << 20
FREE = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
MAPPING = """
rules:
  - name: all
    alarm: {alarmName: "{{ labels.alertname }}", alarmLevel: Info, nameSpace: n, applicationId: a, alarmDesc: d}
"""


def limited(config: Path, mib: int, *, hard: bool = True) -> Adapter:
    service = Adapter(config)
    limit = mib * MIB
    resource.prlimit(service.process.pid, resource.RLIMIT_AS, (limit, limit if hard else resource.RLIM_INFINITY))
    return service


@pytest.mark.parametrize("hard", [True, False])
async def test_a_service_of_less_memory_than_the_rendering_process_serves_by_its_mappings_and_says_so(
    tmp_path: Path, hard: bool
) -> None:
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings" / "a.yaml").write_text(MAPPING)
    async with sandbox() as coc:
        service = limited(write_config(tmp_path, coc.port, "mappings: mappings\n"), 350, hard=hard)
        try:
            await service.ready()
            assert "memory is limited here (ulimit -v)" in service.log_text
            assert "limit_mib=350 wanted_mib=400" in service.log_text
            assert "refused" not in service.log_text
            assert (await post(f"{service.url}/webhook", webhook(alert("A"))))[0] == 200
            (body,) = await coc.received(1)
            assert body["additional"]["mapping"] == "a.yaml"
        finally:
            service.end()


@pytest.mark.parametrize("mib", [64, 76, 120])
async def test_a_start_without_the_memory_for_it_is_refused_in_one_line_that_blames_no_file(
    tmp_path: Path, mib: int
) -> None:
    service = limited(write_config(tmp_path, 9), mib)
    try:
        assert await until(lambda: service.process.poll(), "the end") == 1
        assert service.log_text == (
            f"coc-adapter: {mib} MiB of memory are allowed here (ulimit -v); serve needs 128 MiB\n"
        )
    finally:
        service.end()


async def test_a_body_that_memory_is_short_for_is_answered_503_and_accepted_later(tmp_path: Path) -> None:
    body = webhook(*(alert(f"A{number}", annotations={"summary": "x" * 100_000}) for number in range(100)))
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port)) as service:
        pid, url = service.process.pid, f"{service.url}/webhook"
        await post(url, webhook(alert("Before")))
        await coc.received(1)
        resource.prlimit(pid, resource.RLIMIT_AS, (size(pid) + 8 * MIB, resource.RLIM_INFINITY))
        assert await post(url, body) == (503, "out of memory\n")
        assert (await post(url, webhook(alert("Small"))))[0] == 200
        await coc.received(2)
        resource.prlimit(pid, resource.RLIMIT_AS, FREE)
        assert (await post(url, body))[0] == 200
        await coc.received(102)
        assert "a bug in the adapter" not in service.log_text


def bodies(name: str) -> Iterator[tuple[list[str], bytes]]:
    """Webhooks of many kinds, with the names of their alerts."""
    for kind, (count, text, labels) in {
        "small": (1, 10, 2),
        "all": (40_000, 100, 2),
        "dense": (2000, 1, 60),
        "text": (20, 200_000, 2),
        "some": (500, 100, 5),
    }.items():
        names = [f"{name}{kind}{number}" for number in range(count)]
        more = {"labels": {f"l{number}": "v" for number in range(labels)}, "annotations": {"summary": "x" * text}}
        yield names, webhook(*(alert(one, **more) for one in names))


@pytest.mark.parametrize("mib", [128, 200, 300])
async def test_under_a_limit_every_body_is_taken_or_answered_503_and_nothing_taken_is_lost(
    tmp_path: Path, mib: int
) -> None:
    answers: list[tuple[int, str]] = []
    taken: set[str] = set()

    async def send(service: Adapter, sender: str) -> None:
        for names, body in bodies(sender):
            answers.append(await post(f"{service.url}/webhook", body))
            taken.update(names if answers[-1][0] == 200 else ())

    async with sandbox() as coc:
        limit = ("bash", "-c", f'ulimit -v {mib * 1024}; exec "$@"', "limited")
        service = Adapter(write_config(tmp_path, coc.port), under=limit)
        try:
            await service.ready()
            await asyncio.gather(*(send(service, f"s{number}") for number in range(2)))
            assert set(answers) >= {(503, "out of memory\n")} or mib == 300
            assert {status for status, _ in answers} <= {200, 503}
            assert {f"s{number}small0" for number in range(2)} <= taken
            assert service.process.poll() is None
            assert "level=error" not in service.log_text
            service.kill()
        finally:
            service.end()
        async with adapter(write_config(tmp_path, coc.port)) as service:
            await drained(service.url, 300.0)
            assert {body["alarmName"] for body in coc.bodies} == taken


def size(pid: int) -> int:
    """Bytes of address space in use."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
