"""Operations are run by the listener and by pages alike."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import encode_basic_auth, web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import BaseModel

from adapter.admin.openapi import Call, Operation, Problem, Query, serve
from adapter.errors import StoreUnavailable
from tests.server.servers import an_access, write_users


class Row(BaseModel):
    id: int
    words: str


async def rows(call: Call) -> list[dict[str, object]]:
    after, limit = call.paging()
    words = f"{call.path.get('name')} {list(call.every('word'))} {call.one('word')} {call.user}"
    return [{"id": number, "words": words} for number in range(after + 1, 6)][:limit]


ROWS = Operation("GET", "/api/{name}", "rows", rows, list[Row], (Query("word", "any"),), paged=True)


async def test_an_operation_runs_without_a_request() -> None:
    answer = await ROWS.perform(Call({"name": "a"}, {"limit": ["2"], "word": ["x", "y"]}, user="li"))
    assert [row.id for row in answer.content] == [1, 2]
    assert answer.content[0].words == "a ['x', 'y'] x li"
    assert answer.following == {"after": "2"}
    assert (await ROWS.perform(Call(query={"after": ["2"]}))).following == {}


async def test_an_operation_says_as_a_problem_that_the_store_is_away() -> None:
    async def away(call: Call) -> None:
        raise StoreUnavailable("the disk is full")

    with pytest.raises(Problem, match="the store is unavailable: the disk is full") as problem:
        await Operation("GET", "/api", "away", away, Row).perform(Call())
    assert problem.value.status == 503


async def test_an_operation_knows_the_user_who_was_let_in(tmp_path: Path) -> None:
    asked = an_access(write_users(tmp_path / "web.yml", li="right"))
    for access, user in ((asked, "li"), (an_access(), "None")):
        app = web.Application(middlewares=[access.middleware(admin=True, bearer_paths=lambda path: False)])
        app.add_routes(serve([ROWS]))
        async with TestClient(TestServer(app)) as client:
            headers = {"Authorization": encode_basic_auth("li", "right")}
            async with client.get("/api/b%2Fc?word=x&word=y&limit=1", headers=headers) as answer:
                assert await answer.json() == [{"id": 1, "words": f"b/c ['x', 'y'] x {user}"}]
                assert answer.headers["X-Next-After"] == "1"
