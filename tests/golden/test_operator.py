"""The output of the operator commands about a service with one alarm of each outcome, as tables and as JSON."""

from __future__ import annotations

from pathlib import Path

from tests.golden import scenario
from tests.golden.normal import MOMENT, MOMENT_IN_WORDS, PORTS, REVISION, rule
from tests.golden.recording import same
from tests.golden.terminal import run_in_thread
from tests.golden.waiting import settled
from tests.stage import Adapter

# The duration of an attempt, and the time until the next.
SECONDS = rule(r'("(?:seconds|due_in_seconds|next_probe_in_seconds)": )[\d.e-]+', r"\1N")
# After a resume the number of pending reports depends on how quickly they are delivered.
STILL_PENDING = rule(r"(is running, )\d+( reports pending)", r"\1N\2")
ASKED = (
    ("alarms",),
    ("alarms", "list", "--status=resolved"),
    ("alarms", "list", "--text=api-"),
    ("alarms", "list", '--matcher=alertname="Waiting"', "--integration=default"),
    ("alarms", "list", "--integration=nobody"),
    ("alarms", "explain", scenario.DELIVERED),
    ("alarms", "explain", "Recovered"),
    ("alarms", "explain", "Watchdog"),
    ("alarms", "explain", "Refused"),
    ("alarms", "explain", "Waiting"),
    ("alarms", "explain", "Locked", "--integration=other"),
    ("alarms", "explain", "Nobody"),
    ("alarms", "explain", "shop"),
    ("dead-letters",),
    ("dead-letters", "list", "--integration=other"),
    ("integrations",),
)
FIRST, SECOND = map(str, scenario.DEAD_LETTERS)
SETTLED = (
    ("integrations", "resume", "other"),
    ("integrations", "pause", "other"),
    ("integrations", "resume", "default"),
    ("integrations", "list"),
    ("dead-letters", "replay", FIRST),
    ("dead-letters", "replay", FIRST),
    ("dead-letters", "discard", SECOND, "99"),
    ("dead-letters", "list"),
    ("alarms", "list"),
    ("alarms", "explain", scenario.REFUSED),
    ("alarms", "explain", scenario.REFUSED_TOO),
)
PENDING = (
    ("integrations", "pause", "other"),
    ("dead-letters", "replay", "--as-sent", FIRST),
    ("dead-letters", "replay", FIRST, SECOND),
    ("dead-letters", "discard", "99"),
    ("dead-letters", "list"),
    ("alarms", "explain", scenario.REFUSED),
    ("integrations", "resume", "other"),
    ("integrations", "list"),
)
WRONG = (
    ("integrations", "pause", "nobody"),
    ("alarms", "list", "--matcher=x"),
    ("alarms", "list", "--adapter.url=http://127.0.0.1:1"),
    ("alarms", "list", "--adapter.url=127.0.0.1:9877"),
    ("alarms", "list", "--adapter.url=http://operator:secret@127.0.0.1:1"),
)


async def asked(service: Adapter, *words: str) -> str:
    """Run one command; return its transcript."""
    url = () if any(word.startswith("--adapter.url") for word in words) else (f"--adapter.url={service.admin_url}",)
    return (await run_in_thread(*words, *url)).text(REVISION, MOMENT, MOMENT_IN_WORDS, PORTS, SECONDS, STILL_PENDING)


async def test_lists_and_explanations_are_printed_as_recorded(tmp_path: Path) -> None:
    async with scenario.serving(tmp_path) as (service, _):
        tables = [await asked(service, *words) for words in ASKED]
        as_json = [await asked(service, *words, "--output=json") for words in ASKED]
        wrong = [await asked(service, *words) for words in WRONG]
    same("operator_asked_table.txt", "\n".join(tables))
    same("operator_asked_json.txt", "\n".join(as_json))
    same("operator_wrong.txt", "\n".join(wrong))


async def test_changes_are_printed_as_recorded(tmp_path: Path) -> None:
    """Everything is settled before the next command."""
    outputs = []
    async with scenario.serving(tmp_path) as (service, _):
        for words in SETTLED:
            outputs.append(await asked(service, *words))
            match words:
                case "integrations", "resume", name:
                    await settled(service, name)
                case "dead-letters", "replay", _:
                    await settled(service, "default")
    same("operator_changed_table.txt", "\n".join(outputs))


async def test_changes_are_printed_in_json_as_recorded(tmp_path: Path) -> None:
    """Reports stay pending, because an integration is paused, and then because COC does not answer."""
    async with scenario.serving(tmp_path) as (service, coc):
        await coc.fail({"delay": 60})
        outputs = [await asked(service, *words, "--output=json") for words in PENDING]
    same("operator_changed_json.txt", "\n".join(outputs))
