"""A running adapter with its console, asked as a browser asks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.stage import Adapter, Coc, adapter, sandbox, write_config


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str


@dataclass(frozen=True, slots=True)
class Site:
    service: Adapter
    coc: Coc
    session: aiohttp.ClientSession

    async def get(self, path: str, **headers: str) -> Answer:
        return await self._ask("GET", path, headers)

    async def post(self, path: str, fields: Mapping[str, str] | None = None, **headers: str) -> Answer:
        """Submit a form as the page of the console would."""
        origin = {"Origin": self.service.admin_url, "Sec-Fetch-Site": "same-origin"}
        return await self._ask("POST", path, origin | headers, data=dict(fields or {}))

    async def _ask(self, method: str, path: str, headers: Mapping[str, str], **options: Any) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"{self.service.admin_url}{path}"
        async with self.session.request(method, url, headers=named, allow_redirects=False, **options) as answer:
            return Answer(answer.status, dict(answer.headers), await answer.text())


@asynccontextmanager
async def site(folder: Path, more: str = "", *flags: str) -> AsyncIterator[Site]:
    """The adapter on the sandbox; `more` of adapter.yml, `flags` of the command."""
    async with (
        sandbox() as coc,
        adapter(write_config(folder, coc.port, more), *flags) as service,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
    ):
        yield Site(service, coc, session)
