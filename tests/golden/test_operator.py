"""What the operator commands print about a service with one alarm of each fate, as tables and as JSON."""

from __future__ import annotations

from pathlib import Path

from tests.golden import story
from tests.golden.normal import MOMENT, MOMENT_IN_WORDS, PORTS, REVISION, rule
from tests.golden.recording import same
from tests.golden.terminal import run_beside
from tests.golden.waiting import settled
from tests.stage import Adapter

# What an attempt has taken, and how long until the next.
SECONDS = rule(r'("(?:seconds|due_in_seconds)": )[\d.e-]+', r"\1N")
# How many are still pending when it is told that they may go depends on how quickly they go.
STILL_PENDING = rule(r"(is running, )\d+( reports pending)", r"\1N\2")
ASKED = (
    ("alarms",),
    ("alarms", "list", "--status=resolved"),
    ("alarms", "list", "--text=api-"),
    ("alarms", "list", '--matcher=alertname="Waiting"', "--integration=default"),
    ("alarms", "list", "--integration=nobody"),
    ("alarms", "explain", story.DELIVERED),
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
FIRST, SECOND = map(str, story.DEAD_LETTERS)
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
    ("alarms", "explain", story.REFUSED),
    ("alarms", "explain", story.REFUSED_TOO),
)
PENDING = (
    ("integrations", "pause", "other"),
    ("dead-letters", "replay", "--as-sent", FIRST),
    ("dead-letters", "replay", FIRST, SECOND),
    ("dead-letters", "discard", "99"),
    ("dead-letters", "list"),
    ("alarms", "explain", story.REFUSED),
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
    """The transcript of one command."""
    url = () if any(word.startswith("--adapter.url") for word in words) else (f"--adapter.url={service.admin_url}",)
    return (await run_beside(*words, *url)).text(REVISION, MOMENT, MOMENT_IN_WORDS, PORTS, SECONDS, STILL_PENDING)


async def test_what_operators_ask_is_answered_as_recorded(tmp_path: Path) -> None:
    async with story.told(tmp_path) as (service, _):
        tables = [await asked(service, *words) for words in ASKED]
        as_json = [await asked(service, *words, "--output=json") for words in ASKED]
        wrong = [await asked(service, *words) for words in WRONG]
    same("operator_asked_table.txt", "\n".join(tables))
    same("operator_asked_json.txt", "\n".join(as_json))
    same("operator_wrong.txt", "\n".join(wrong))


async def test_what_operators_change_is_told_as_recorded(tmp_path: Path) -> None:
    """Before the next command is given, everything that the one before has caused is settled."""
    told = []
    async with story.told(tmp_path) as (service, _):
        for words in SETTLED:
            told.append(await asked(service, *words))
            match words:
                case "integrations", "resume", name:
                    await settled(service, name)
                case "dead-letters", "replay", _:
                    await settled(service, "default")
    same("operator_changed_table.txt", "\n".join(told))


async def test_what_operators_change_is_told_in_json_as_recorded(tmp_path: Path) -> None:
    """What is to be sent stays pending: an integration is paused, and then COC does not answer."""
    async with story.told(tmp_path) as (service, coc):
        await coc.fail({"delay": 60})
        told = [await asked(service, *words, "--output=json") for words in PENDING]
    same("operator_changed_json.txt", "\n".join(told))
