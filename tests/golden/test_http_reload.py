"""The answers of `POST /-/reload`."""

from __future__ import annotations

from pathlib import Path

import aiohttp

from tests.golden.exchange import exchange
from tests.golden.normal import REVISION, place
from tests.golden.recording import same
from tests.stage import adapter, write_config


async def test_a_refused_reload_and_one_that_needs_a_restart_answer_as_recorded(tmp_path: Path) -> None:
    config = write_config(tmp_path, 9)
    sound, folder = config.read_text(), place(tmp_path, "FOLDER")
    async with adapter(config) as service, aiohttp.ClientSession() as http:
        outputs = [await exchange(http, service.admin_url, "POST /-/reload", rules=(REVISION, folder))]
        for more in ("limit: {backlog: 5}\nretention: {dead: soon}\n", "limits: {backlog: 5}\n"):
            config.write_text(sound + more)
            outputs.append(await exchange(http, service.admin_url, "POST /-/reload", rules=(REVISION, folder)))
    same("http_reload.txt", "\n".join(outputs))
