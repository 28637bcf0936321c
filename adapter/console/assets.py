"""Style sheet, scripts and icon: served under a hash of them all, so that browsers may keep them for ever."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Final

from aiohttp import web

from adapter.console.modules import joined

_TYPES: Final = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


class Assets:
    def __init__(self) -> None:
        folder = files("adapter.console").joinpath("static")
        read = {item.name: item.read_bytes() for item in folder.iterdir() if item.name.rpartition(".")[2] in _TYPES}
        scripts = {name: content.decode() for name, content in read.items() if name.endswith(".js")}
        self._files = read | {name: joined(name, scripts).encode() for name in scripts}
        digest = hashlib.sha256()
        for name, content in sorted(self._files.items()):
            digest.update(name.encode() + b"\0" + content)
        self.hash = digest.hexdigest()[:16]

    def url(self, name: str) -> str:
        if name not in self._files:
            raise KeyError(name)
        return f"/ui/static/{self.hash}/{name}"

    def text(self, name: str) -> str:
        return self._files[name].decode()

    def route(self) -> web.RouteDef:
        async def get_asset(request: web.Request) -> web.Response:
            name = request.match_info["file"]
            if request.match_info["hash"] != self.hash or name not in self._files:
                raise web.HTTPNotFound
            return web.Response(
                body=self._files[name],
                content_type=_TYPES[name.rpartition(".")[2]],
                charset="utf-8",
                headers={"Cache-Control": "private, max-age=31536000, immutable"},
            )

        return web.get("/ui/static/{hash}/{file}", get_asset)
