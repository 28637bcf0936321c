"""The log lines of `serve` in one scripted run."""

from __future__ import annotations

import re
from pathlib import Path

from tests.golden.normal import ALERTS_BEGAN, MOMENT, PORTS, REVISION, place, rule
from tests.golden.recording import same
from tests.golden.waiting import integrations, settled
from tests.stage import Adapter, adapter, alert, post, sandbox, until, webhook, write_config

KEYS = {"Refused": "00000000000000aa", "Taken": "00000000000000bb", "Unlucky": "00000000000000cc"}
TOKEN = {"Authorization": "Bearer the-token-of-the-test"}
MORE = """\
webhook: {bearer_token: the-token-of-the-test, max_body: 64KiB}
"""
# How long a failure or an operation took.
SECONDS = rule(r"\b(seconds=|\"seconds\":)[\d.e-]+", r"\1N")
# The check every five seconds may log the same reload again.
TWICE = rule(r"^(ts=\S+ level=info component=\S+ msg=reloaded .*\n)\1+", r"\1")
# The component of each line is recorded in log_components.txt, so that a moved module changes one file.
COMPONENT = rule(r"(\bcomponent=|\"component\":\")[\w.]+", r"\1C")


def a(name: str, status: str = "firing") -> bytes:
    """A webhook with one alert."""
    ends = "2024-02-03T05:00:00Z" if status == "resolved" else "0001-01-01T00:00:00Z"
    return webhook(alert(name, status, fingerprint=KEYS[name], startsAt=ALERTS_BEGAN, endsAt=ends))


async def reloaded(service: Adapter) -> int:
    return (await post(f"{service.admin_url}/-/reload", b""))[0]


async def resumed(service: Adapter) -> None:
    assert (await post(f"{service.admin_url}/api/v1/integrations/default/resume", b""))[0] == 200


def normal(service: Adapter, folder: Path) -> str:
    text = service.log_text
    for one in (place(folder, "FOLDER"), MOMENT, PORTS, REVISION, SECONDS, TWICE, COMPONENT):
        text = one.on(text)
    return text


def components(service: Adapter) -> str:
    """Each message with its component."""
    lines = re.findall(r'\bcomponent=(\S+) msg=("[^"]*"|\S+)', service.log_text)
    return "".join(sorted({f"{message}: {component}\n" for component, message in lines}))


async def test_a_scripted_run_logs_what_is_recorded(tmp_path: Path) -> None:
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port, MORE)) as service:
        url, config = f"{service.url}/webhook", tmp_path / "adapter.yml"
        # Accepted and delivered, firing and resolved.
        await post(url, a("Taken"), headers=TOKEN)
        await settled(service)
        await post(url, a("Taken", "resolved"), headers=TOKEN)
        await settled(service)
        # COC refuses the content.
        await coc.fail({"status": 400, "alarm_id": KEYS["Refused"]})
        await post(url, a("Refused"), headers=TOKEN)
        await until(lambda: 'msg="dead letter"' in service.log_text, "a dead letter")
        # COC fails once.
        await coc.fail({"status": 503, "times": 1})
        await post(url, a("Unlucky"), headers=TOKEN)
        await until(lambda: 'msg="COC answers again"' in service.log_text, "COC answers again")
        await settled(service)
        # COC refuses the credentials, then accepts them.
        await coc.fail({"status": 401})
        await post(url, a("Taken"), headers=TOKEN)
        await until(lambda: 'msg="integration paused"' in service.log_text, "a pause")
        await coc.fail()
        await resumed(service)
        await settled(service)
        # Refused requests.
        assert (await post(url, b"no JSON", headers=TOKEN))[0] == 400
        assert (await post(url, webhook({"status": "firing"}), headers=TOKEN))[0] == 200
        assert (await post(url, webhook(truncatedAlerts=7), headers=TOKEN))[0] == 200
        assert (await post(url, b"x" * 70_000, headers=TOKEN))[0] == 413
        assert (await post(f"{url}/nobody", a("Taken"), headers=TOKEN))[0] == 404
        assert (await post(f"{url}/a/b", a("Taken"), headers=TOKEN))[0] == 404
        assert (await post(url, a("Taken")))[0] == 401
        assert (await post(f"{service.admin_url}/-/reload", b"", headers={"Origin": "https://evil.example"}))[0] == 403
        # Reloads: nothing new, a broken file, a file that needs a restart.
        sound = config.read_text()
        assert await reloaded(service) == 200
        config.write_text(f"{sound}limit: {{backlog: 5}}\nretention: {{dead: soon}}\n")
        assert await reloaded(service) == 422
        config.write_text(f"{sound}limits: {{backlog: 5}}\n")
        assert await reloaded(service) == 200
        assert (await integrations(service))[0]["pending"] == 0
        assert await service.terminate() == 0
    same("log_run.txt", normal(service, tmp_path))
    same("log_components.txt", components(service))


async def test_json_lines_are_as_recorded(tmp_path: Path) -> None:
    """Start, one webhook and shutdown, at level debug."""
    async with sandbox() as coc:
        config = write_config(tmp_path, coc.port)
        async with adapter(config, "--log.format=json", "--log.level=debug") as service:
            await post(f"{service.url}/webhook", a("Taken"))
            await settled(service)
            assert await service.terminate() == 0
    same("log_json.txt", normal(service, tmp_path))
