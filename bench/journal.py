"""A script to compare with: the relay with an SQLite journal. It answers 200 after the commit, deletes in batches.

python -m bench.journal PORT SINK_URL DATABASE
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from typing import Any

import aiohttp
from aiohttp import web

from bench.relay import render, serve

WORKERS = 64
TIDY = 0.05  # seconds between two deletions


class Journal:
    def __init__(self, url: str, path: str) -> None:
        self.url = url
        self.database = sqlite3.connect(path)
        self.database.execute("PRAGMA journal_mode=WAL")
        self.database.execute("PRAGMA synchronous=FULL")
        self.database.execute("CREATE TABLE IF NOT EXISTS journal(id INTEGER PRIMARY KEY AUTOINCREMENT, alert TEXT)")
        self.queue: asyncio.Queue[tuple[int, dict[str, Any]]] = asyncio.Queue()
        self.done: list[tuple[int]] = []

    async def run(self, _app: web.Application) -> Any:
        for number, alert in self.database.execute("SELECT id, alert FROM journal ORDER BY id"):
            self.queue.put_nowait((number, json.loads(alert)))
        async with aiohttp.ClientSession() as self.session:
            tasks = [asyncio.create_task(job) for job in (self.tidy(), *(self.work() for _ in range(WORKERS)))]
            yield
            for task in tasks:
                task.cancel()
        self.database.close()

    async def webhook(self, request: web.Request) -> web.Response:
        alerts = (await request.json())["alerts"]
        with self.database:
            insert = "INSERT INTO journal(alert) VALUES (?)"
            ids = [self.database.execute(insert, (json.dumps(alert),)).lastrowid or 0 for alert in alerts]
        for pair in zip(ids, alerts, strict=True):
            self.queue.put_nowait(pair)
        return web.Response(text="ok")

    async def work(self) -> None:
        while True:
            number, alert = await self.queue.get()
            while not await self.report(alert):
                await asyncio.sleep(1)
            self.done.append((number,))

    async def report(self, alert: dict[str, Any]) -> bool:
        try:
            async with self.session.post(self.url, json=render(alert)) as response:
                return bool((await response.json())["error_code"] == "COC.00000000")
        except aiohttp.ClientError:
            return False

    async def tidy(self) -> None:
        while True:
            await asyncio.sleep(TIDY)
            if self.done:
                done, self.done = self.done, []
                with self.database:
                    self.database.executemany("DELETE FROM journal WHERE id = ?", done)


if __name__ == "__main__":
    serve(Journal(sys.argv[2], sys.argv[3]), int(sys.argv[1]))
