"""The admin API."""

from __future__ import annotations

from typing import Any

from aiohttp import web


class AdminApi:
    def __init__(self, service: Any) -> None:
        self.service = service

    def routes(self) -> list[web.RouteDef]:
        return []
