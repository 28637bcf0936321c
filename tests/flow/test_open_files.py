"""A low limit of open files: silent connections must not take the files that COC, the store and senders need."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path

from tests.stage import Adapter, alert, post, sandbox, webhook, write_config


async def test_silent_connections_leave_open_files_for_coc_and_honest_senders(tmp_path: Path) -> None:
    limit, silent = 400, 600
    async with sandbox() as coc:
        service = Adapter(write_config(tmp_path, coc.port))
        resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE, (limit // 2, limit))
        try:
            await service.ready()
            held = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", service.port) for _ in range(silent)))
            for number in range(20):
                assert (await post(f"{service.url}/webhook", webhook(alert(f"A{number}"))))[0] == 200
            await coc.received(20)
            for _, writer in held:
                writer.close()
        finally:
            service.end()
        assert f"limit={limit} connections=72" in service.log_text
        assert "cannot accept connections" not in service.log_text
