"""schemathesis calls the admin API of a running service by its OpenAPI document."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.stage import adapter, post, sample, sandbox, write_config

CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance",
)  # fmt: skip


async def test_the_admin_api_answers_every_request_as_its_document_says(tmp_path: Path) -> None:
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port)) as service:
        await coc.fail({"status": 400, "times": 20})
        for name in ("group3-firing", "single-firing", "no-alertname"):
            assert (await post(f"{service.url}/webhook", sample(name)))[0] == 200
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("schemathesis")),
            "run", f"{service.admin_url}/api/v1/openapi.json", "--checks", ",".join(CHECKS), "--max-examples", "25",
            "--seed", "6", "--no-color", "--suppress-health-check", "all", "--generation-database", "none",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=tmp_path,
        )  # fmt: skip
        output = (await asyncio.wait_for(process.communicate(), 250))[0].decode()
        print(output)
        assert process.returncode == 0, output
        assert "bug in the adapter" not in service.log_text
