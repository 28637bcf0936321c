"""docs/troubleshooting.md: each symptom is brought about, and each command on its way prints what the page shows."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path

import pytest

from adapter.cli.demo import KEY
from tests.docs.transcript import Terminal, blocks
from tests.stage import REPOSITORY, Adapter, Coc, adapter, alert, drained, post, sandbox, until, webhook

PAGE = Path(__file__).parents[2] / "docs" / "troubleshooting.md"
CONFIG = """\
store: sqlite:data/adapter.db
mappings: mappings/
integrations:
  default:
    base_url: http://127.0.0.1:{coc}
    allow_http: true
    integration_key_file: secrets/integration-key
    timeout: 5s
    auth: {{type: aksk, access_key: access-key, secret_key: secret-key, project_id: project}}
{more}
"""
MAPPING = """\
lookup:
  application: {shop: Shop Fronted, checkout: Shop Cart}
rules:
  - name: staging
    when: labels.namespace == "staging"
    drop: true
  - name: namespace
    when: labels.namespace
    alarm:
      alarmName: "{{ labels.alertname }}"
      alarmLevel: "{{ labels.severity | level }}"
      nameSpace: "{{ labels.namespace }}"
      applicationId: "{{ lookup.application[labels.namespace] | application or 'kubernetes' }}"
      alarmDesc: "{{ annotations.summary }}"
"""
Stage = AbstractAsyncContextManager[Terminal]


def configured(folder: Path, coc: Coc, more: str = "") -> Path:
    (folder / "mappings").mkdir(exist_ok=True)
    (folder / "mappings" / "10-shop.yaml").write_text(MAPPING)
    (folder / "secrets").mkdir(exist_ok=True)
    (folder / "secrets" / "integration-key").write_text(KEY)
    config = folder / "adapter.yml"
    config.write_text(CONFIG.format(coc=coc.port, more=more))
    return config


def terminal(service: Adapter) -> Terminal:
    shell = Terminal(
        service.folder, {"127.0.0.1:9876": f"127.0.0.1:{service.port}", "127.0.0.1:9877": f"127.0.0.1:{service.admin}"}
    )
    shell.environment["COC_ADAPTER_URL"] = service.admin_url
    return shell


async def sent(service: Adapter, *alerts: dict[str, object]) -> None:
    status, text = await post(f"{service.url}/webhook", webhook(*alerts))
    assert status == 200, text


@asynccontextmanager
async def running(folder: Path, more: str = "") -> AsyncIterator[tuple[Adapter, Coc]]:
    async with sandbox() as coc, adapter(configured(folder, coc, more)) as service:
        await until(lambda: "applications fetched" in service.log_text, "COC's applications")
        yield service, coc


@asynccontextmanager
async def nobody_was_paged(folder: Path) -> AsyncIterator[Terminal]:
    """One alarm is refused, one dropped, one accepted; then COC refuses the caller."""
    async with running(folder) as (service, coc):
        await coc.fail({"status": 400, "code": "COC.00000001", "message": "nameSpace is not valid", "times": 2})
        await sent(service, alert("DiskFull", labels={"instance": "db-1"}))
        await drained(service.url)
        await sent(service, alert("PodRestarts", labels={"namespace": "staging"}), alert("PaymentsSlow"))
        await drained(service.url)
        await coc.fail({"status": 401, "code": "common.01010001", "message": "Token missing or invalid."})
        await sent(service, alert("PaymentsDown"))
        yield terminal(service)


@asynccontextmanager
async def paged_twice(folder: Path) -> AsyncIterator[Terminal]:
    """Two Prometheus servers with a label of their own each; an answer of COC that is lost; an alert that flaps."""
    async with running(folder) as (service, coc):
        await sent(service, *(alert("HighLatency", labels={"prometheus_replica": name}) for name in ("a", "b")))
        await drained(service.url)
        await coc.fail({"reset": "after", "times": 1})
        await sent(service, alert("CartErrors"))
        await drained(service.url)
        for status, start in (("firing", "15:00"), ("resolved", "15:00"), ("firing", "16:10")):
            await sent(service, alert("QueueGrows", status, startsAt=f"2026-11-23T{start}:00Z"))
            await drained(service.url)
        yield terminal(service)


@asynccontextmanager
async def never_closes(folder: Path) -> AsyncIterator[Terminal]:
    """An alarm of which Alertmanager has not spoken for two days, and one that is closed."""
    async with running(folder) as (service, _):
        await sent(service, alert("DiskFull"))
        await sent(service, alert("PaymentsSlow"))
        await sent(service, alert("PaymentsSlow", "resolved"))
        await drained(service.url)
        await service.terminate()
    with closing(sqlite3.connect(folder / "data" / "adapter.db")) as database:
        database.execute("UPDATE alarm SET last_seen = last_seen - 172800000000 WHERE labels LIKE '%DiskFull%'")
        database.commit()
    async with sandbox() as coc, adapter(configured(folder, coc)) as service:
        yield terminal(service)


@asynccontextmanager
async def wrong_application(folder: Path) -> AsyncIterator[Terminal]:
    """The mapping names an application with a letter missing."""
    async with running(folder) as (service, _):
        await sent(service, alert("PaymentsDown"))
        await drained(service.url)
        yield terminal(service)


@asynccontextmanager
async def all_major(folder: Path) -> AsyncIterator[Terminal]:
    """One alert with a word of their own, one without any."""
    async with running(folder) as (service, _):
        await sent(service, alert("PaymentsDown", labels={"severity": "sev-high"}))
        nothing = alert("BatchLate")
        del nothing["labels"]["severity"]
        await sent(service, nothing)
        await drained(service.url)
        yield terminal(service)


@asynccontextmanager
async def answered_503(folder: Path) -> AsyncIterator[Terminal]:
    """COC is down for so long that the backlog is full."""
    async with running(folder, "limits: {backlog: 4}") as (service, coc):
        await coc.fail({"status": 503})
        await sent(service, *(alert(f"Alert{number}") for number in range(4)))
        status, text = await post(f"{service.url}/webhook", webhook(alert("Alert5")))
        assert (status, text) == (503, "the backlog is full\n")
        yield terminal(service)


@asynccontextmanager
async def coc_says_401(folder: Path) -> AsyncIterator[Terminal]:
    """The key in the file is not COC's; the page says to write the right one."""
    async with running(folder) as (service, _):
        (folder / "secrets" / "integration-key").write_text("f" * 32)
        await post(f"{service.admin_url}/-/reload", b"")
        await sent(service, alert("PaymentsDown"))
        yield terminal(service)


STAGES: dict[str, Callable[[Path], Stage]] = {
    "Nobody was paged": nobody_was_paged,
    "Paged twice": paged_twice,
    "An alarm never closes": never_closes,
    "The wrong application": wrong_application,
    "Every alarm is Major": all_major,
    "503 in Alertmanager's log": answered_503,
    "COC says 401": coc_says_401,
}


def test_the_page_has_exactly_the_symptoms_that_are_staged() -> None:
    assert re.findall(r"^## (.*)$", PAGE.read_text(), re.MULTILINE) == list(STAGES)


@pytest.mark.parametrize("symptom", STAGES)
def test_a_path_has_at_most_five_steps(symptom: str) -> None:
    text = PAGE.read_text().split(f"\n## {symptom}\n")[1].split("\n## ")[0]
    steps = [int(number) for number in re.findall(r"^(\d)\. ", text, re.MULTILINE)]
    assert steps == list(range(1, len(steps) + 1))
    assert 2 <= len(steps) <= 5


@pytest.mark.parametrize("symptom", STAGES)
async def test_the_commands_on_the_way_print_what_is_shown(symptom: str, tmp_path: Path) -> None:
    commands = [command for block in blocks(PAGE) if block.section == symptom for command in block.commands]
    assert commands
    async with STAGES[symptom](tmp_path) as shell:
        for command in commands:
            await asyncio.to_thread(shell.check, command)


async def test_each_answer_that_the_first_step_tells_apart_is_given(tmp_path: Path) -> None:
    text = PAGE.read_text().split("\n## Nobody was paged\n")[1].split("\n2. ")[0]
    phrases = re.findall(r"^   \| `([^`]*)` \|", text, re.MULTILINE)
    alerts = ("NodeDown", "PaymentsDown", "PodRestarts", "DiskFull", "PaymentsSlow")
    async with nobody_was_paged(tmp_path) as shell:
        for name, phrase in zip(alerts, phrases, strict=True):
            assert phrase in await asyncio.to_thread(shell.run, f"coc-adapter alarms explain {name}")


@pytest.mark.parametrize(
    "body",
    re.findall(r"^   \| `(.*)` \|", PAGE.read_text().split("behind the address")[1].split("\n2. ")[0], re.MULTILINE),
)
def test_each_text_of_a_503_is_one_that_the_adapter_answers(body: str) -> None:
    sources = (REPOSITORY / "adapter" / name for name in ("intake/webhook.py", "server/body.py"))
    assert any(f'"{body}' in source.read_text() for source in sources)
