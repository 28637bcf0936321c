"""The OpenAPI document of the admin API."""

from __future__ import annotations

import json
from pathlib import Path

from tests.golden.normal import VERSION
from tests.golden.recording import same
from tests.stage import adapter, fetch, write_config


async def test_the_openapi_document_is_as_recorded(tmp_path: Path) -> None:
    async with adapter(write_config(tmp_path, coc=9)) as service:
        document = json.loads(await fetch(f"{service.admin_url}/api/v1/openapi.json"))
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False)
    same("openapi.json", VERSION.on(text) + "\n")
