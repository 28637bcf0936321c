"""The console: pages for people under `/ui/` of the admin listener, made of the operations of the admin API.

Every page works without JavaScript. A form is answered 303 with one line, which the next page shows.
"""

from __future__ import annotations

import tomllib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any, Final
from urllib.parse import parse_qs

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from adapter import __version__
from adapter.admin.openapi import Operation, Problem
from adapter.clock import Clock, moment
from adapter.console import charts, shown
from adapter.console.assets import Assets
from adapter.console.forms import Done, Form, line_of
from adapter.console.language import LANGUAGES, Language, preferred
from adapter.console.page import Page
from adapter.console.pages import FORMS, PAGES
from adapter.console.regions import regions
from adapter.console.visit import Visit
from adapter.server.access import USER
from adapter.server.body import BodyRefused, read_body

LARGEST_FORM: Final = 512 * 1024  # a draft of mapping files, typed into the form that works without JavaScript
FORM_SECONDS: Final = 30.0
COOKIE: Final = "ui"  # language and theme, such as zh.dark
SAID: Final = "said"  # the line of the last form, for the next page
THEMES: Final = ("auto", "light", "dark")
_YEAR: Final = 365 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What the console knows of the adapter beside the operations."""

    clock: Clock
    webhook_port: Callable[[], int]
    reconciles: bool
    read_only: bool


class Console:
    def __init__(self, operations: Sequence[Operation], around: Around) -> None:
        self._operations, self._around = {f"{item.method} {item.path}": item for item in operations}, around
        self._assets = Assets()
        chinese = tomllib.loads(files("adapter.console").joinpath("zh.toml").read_text(encoding="utf-8"))
        self._languages = {"en": Language("en", {}, {}), "zh": Language("zh", chinese["texts"], chinese["sentences"])}
        self._templates = _templates(self._assets)

    def routes(self) -> list[web.RouteDef]:
        async def home(request: web.Request) -> web.Response:
            raise web.HTTPSeeOther("/ui/")

        pages = [page for page in PAGES if page.name != "reconcile" or self._around.reconciles]
        return [
            web.get("/", home),
            web.get("/ui", home),
            self._assets.route(),
            *(web.get(page.route, self._showing(page)) for page in pages),
            *(web.post(form.route, self._taking(form)) for form in FORMS),
            web.route("*", "/ui/{rest:.*}", self._nowhere),
        ]

    def _showing(self, page: Page) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def show(request: web.Request) -> web.Response:
            visit = self._visit(request)
            try:
                return await self._page(request, visit, page, await page.load(visit))
            except Problem as exc:
                return await self._problem(request, visit, exc)

        return show

    def _taking(self, form: Form) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def take(request: web.Request) -> web.Response:
            visit = self._visit(request)
            _ = visit.language
            try:
                if self._around.read_only and form.changes:
                    raise Problem(403, _("The console is read-only (console.read_only in adapter.yml)."))
                done = await form.submit(replace(visit, form=await _form(request)))
                if isinstance(done, Done):
                    return _see_other(visit, done)
                return await self._page(request, visit, *done)
            except Problem as exc:
                return await self._problem(request, visit, exc)

        return take

    async def _nowhere(self, request: web.Request) -> web.Response:
        visit = self._visit(request)
        _ = visit.language
        return await self._problem(request, visit, Problem(404, _("There is no such page.")))

    async def _problem(self, request: web.Request, visit: Visit, problem: Problem) -> web.Response:
        _ = visit.language
        title = f"{problem.status} {_('Cannot be shown') if request.method == 'GET' else _('Not done')}"
        error = Page("error", "", "", "error.html", _nothing)
        answer = await self._page(request, visit, error, {"title": title, "message": str(problem)})
        answer.set_status(problem.status)
        return answer

    def _visit(self, request: web.Request) -> Visit:
        chosen = request.query.get("lang") or request.cookies.get(COOKIE, "").partition(".")[0]
        if chosen not in LANGUAGES:
            chosen = preferred(request.headers.get("Accept-Language", ""))
        return Visit(
            language=self._languages[chosen],
            now=moment(self._around.clock.now()),
            operations=self._operations,
            path=request.match_info,
            query={name: request.query.getall(name) for name in request.query},
            form={},
            user=request.get(USER),
            host=request.host,
            secure=request.secure,
            webhook_port=self._around.webhook_port(),
            reconciles=self._around.reconciles,
            read_only=self._around.read_only,
        )

    async def _page(self, request: web.Request, visit: Visit, page: Page, context: Mapping[str, Any]) -> web.Response:
        theme = request.query.get("theme") or request.cookies.get(COOKIE, "").partition(".")[2]
        theme = theme if theme in THEMES else "auto"
        html = self._templates.get_template(page.template).render(
            context,
            page=page,
            visit=visit,
            _=visit.language,
            theme=theme,
            here=lambda **changes: str(request.rel_url.update_query(changes)),
            said=line_of(request.cookies.get(SAID, ""), visit.language),
            menu=await self._menu(visit),
            now=visit.now,
            stamp=f"{visit.now:%Y-%m-%dT%H:%M:%S}Z",
        )
        wants_regions = request.headers.get("Accept") == "application/json"
        answer = (
            web.json_response(regions(html)) if wants_regions else web.Response(text=html, content_type="text/html")
        )
        if not wants_regions and SAID in request.cookies:
            answer.del_cookie(SAID, path="/ui/")
        if request.query.keys() & {"lang", "theme"}:
            answer.set_cookie(COOKIE, f"{visit.language.name}.{theme}", path="/ui/", max_age=_YEAR, samesite="Strict")
        return answer

    async def _menu(self, visit: Visit) -> list[tuple[Page, int]]:
        """The pages with a link, and what waits there for a decision."""
        try:
            rows = (await visit.ask("GET /api/v1/integrations")).content
        except Problem:  # the store does not answer
            rows = []
        waiting = {"dead-letters": sum(row.dead_letters for row in rows)}
        return [
            (page, waiting.get(page.name, 0))
            for page in PAGES
            if page.in_menu and (page.name != "reconcile" or visit.reconciles)
        ]


def _templates(assets: Assets) -> Environment:
    environment = Environment(
        loader=PackageLoader("adapter.console"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown.visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "age": shown.age, "clip": shown.clip, "duration": shown.duration, "pretty": shown.pretty, "time": shown.time,
        "field": shown.field, "query": shown.query, "quoted": shown.quoted,
    }  # fmt: skip
    environment.tests |= {"link": shown.is_link, "in_additional": shown.is_in_additional}
    environment.globals |= {
        "asset": assets.url, "script_text": assets.text, "chart": charts.line, "version": __version__,
        "LANGUAGES": {"en": "EN", "zh": "中文"}, "THEMES": THEMES,
    }  # fmt: skip
    return environment


async def _nothing(visit: Visit) -> Mapping[str, Any]:
    return {}


def _see_other(visit: Visit, done: Done) -> web.Response:
    line = line_of(done.said, visit.language)
    answer = web.Response(status=303, text=f"{line}\n", headers={"Location": done.location})
    answer.set_cookie(SAID, done.said, path="/ui/", max_age=60, samesite="Strict", httponly=True)
    return answer


async def _form(request: web.Request) -> dict[str, str]:
    """The fields; of a repeated one the last value. Problem when the body is no form of ours."""
    if request.content_type != "application/x-www-form-urlencoded":
        raise Problem(415, "a form is application/x-www-form-urlencoded here")
    try:
        body = await read_body(request, limit=LARGEST_FORM, seconds=FORM_SECONDS)
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=100)
    except BodyRefused as exc:
        raise Problem(exc.status, str(exc)) from exc
    except ValueError as exc:
        raise Problem(400, "the form cannot be read") from exc
    return {name: values[-1] for name, values in fields.items()}
