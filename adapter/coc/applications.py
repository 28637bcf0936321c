"""Lists an integration's applications, components and groups from COC, page by page. Never raises and never logs.

Source: the official SDK's `list_application_view`, which agrees with the API definition; not seen live. `limit` is
required, and `is_collection` must be an explicit `false`: by default COC lists favourites only. The marker is the last
id of the page before, and the last page is an empty one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Final

import aiohttp
from pydantic import AfterValidator, BaseModel, ValidationError
from yarl import URL

from adapter.application import Node
from adapter.clock import Clock, moment
from adapter.coc.client import MARK, allowed_socket, connection_of, headers_of, signer_of
from adapter.coc.endpoint import Endpoint, EndpointProblem
from adapter.coc.failure import judge_failure
from adapter.coc.signing import canonical_query
from adapter.coc.verdict import LONGEST_MESSAGE, SUCCESS, Action, Reason, Verdict, judge
from adapter.errors import one_line
from adapter.nodes import NodeModel
from adapter.secret import Redactor

PAGE: Final = 500  # rows, the most that COC gives
MOST_NODES: Final = 50_000
MOST_PAGES: Final = 1000
MOST_BYTES: Final = 32 * 1024 * 1024  # of all pages together
LARGEST_PAGE: Final = 4 * 1024 * 1024
RIGHT_HINT: Final = "the caller needs the IAM action coc:application:list"


def _success(code: str) -> str:
    if not SUCCESS.fullmatch(code):
        raise ValueError("not COC's success code")
    return code


class _Answer(BaseModel):
    data: list[NodeModel]
    error_code: Annotated[str, AfterValidator(_success)] | None = None  # the API definition has none here


class _Refused(Exception):
    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict


class ApplicationsClient:
    """Asks with the credentials, TLS and proxy of the integration's reports, over connections of its own."""

    def __init__(self, endpoint: Endpoint, clock: Clock) -> None:
        self._endpoint = endpoint
        self._clock = clock

    async def fetch(self) -> list[Node] | Verdict:
        """Every node, or why the answer is not certain."""
        try:
            return await self._fetch()
        except EndpointProblem as exc:
            return Verdict(action=Action.PAUSE, reason=exc.reason, message=str(exc), hint=exc.hint)
        except _Refused as exc:
            return exc.verdict

    async def _fetch(self) -> list[Node]:
        endpoint = self._endpoint
        url = endpoint.applications_url()
        headers = headers_of(endpoint, url, "application/json")
        sent = dict(headers)
        connection = await asyncio.to_thread(connection_of, endpoint, url, sent)
        timeout = aiohttp.ClientTimeout(total=endpoint.timeout, connect=min(endpoint.connect_timeout, endpoint.timeout))
        connector = aiohttp.TCPConnector(limit=1, socket_factory=allowed_socket)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
        ) as session:

            async def page(query: Mapping[str, str]) -> tuple[list[Node], int]:
                signer = signer_of(endpoint, "GET", url, headers, query)
                signed = signer.headers(b"", moment(self._clock.now())) if signer else {}
                whole = URL(f"{url}?{canonical_query(query)}", encoded=True)
                return await self._page(session, whole, sent | signed, connection)

            nodes: dict[Node, None] = {}
            query = {"is_collection": "false", "limit": str(PAGE)}
            left = MOST_BYTES
            for _ in range(MOST_PAGES):
                rows, size = await page(query)
                if not rows:
                    return list(nodes)
                before = len(nodes)
                nodes.update(dict.fromkeys(rows))
                left -= size
                if len(nodes) == before:
                    raise _unexpected("the marker leads back to a page that was there before")
                if len(nodes) > MOST_NODES or left < 0:
                    break
                query["marker"] = rows[-1].id
            raise _unexpected(f"COC lists more than {MOST_NODES} nodes, {MOST_PAGES} pages or {MOST_BYTES >> 20} MiB")

    async def _page(
        self, session: aiohttp.ClientSession, url: URL, headers: Mapping[str, str], connection: Mapping[str, Any]
    ) -> tuple[list[Node], int]:
        """The rows of one page and its size in bytes."""
        redact = Redactor(self._endpoint.secrets(), MARK)
        try:
            async with session.get(url, headers=headers, allow_redirects=False, **connection) as answer:
                body = await _read(answer)
        except Exception as exc:
            verdict = judge_failure(exc, sent=True)
            raise _Refused(replace(verdict, message=one_line(redact(verdict.message), LONGEST_MESSAGE))) from exc
        if answer.status == 200 and len(body) <= LARGEST_PAGE:
            try:
                rows = _Answer.model_validate_json(body).data
                return [row.node() for row in rows], len(body)
            except ValidationError:
                pass
        verdict = judge(answer.status, answer.headers, body, moment(self._clock.now()), redact=redact)
        if verdict.status == 200 and verdict.reason in (Reason.ACCEPTED, Reason.NOT_COC):
            raise _unexpected("the answer is no list of applications")
        hint = RIGHT_HINT if verdict.status == 403 else "" if verdict.reason is Reason.CONTENT else verdict.hint
        raise _Refused(replace(verdict, hint=hint))


def _unexpected(message: str) -> _Refused:
    hint = "what was fetched before stays in use"
    return _Refused(Verdict(action=Action.RETRY, reason=Reason.NOT_COC, status=200, message=message, hint=hint))


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """The body; of one that is too large as much as shows it."""
    body = bytearray()
    while len(body) <= LARGEST_PAGE and (part := await answer.content.read(LARGEST_PAGE + 1 - len(body))):
        body += part
    return bytes(body)
