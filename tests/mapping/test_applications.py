"""The filter `application`: names to ids by the directory that is in force when an alert is rendered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from adapter.application import Directory, Lookup, Node
from adapter.mapping.draft.process import DraftProcess
from adapter.mapping.render.live import LiveMappings
from adapter.mapping.render.request import Contract, Reason, RenderResult
from tests.mapping.builders import a_request, fields, one_rule, opened, outcome, program, rules, workers, write

SHOP, WEB = "65a7b9c0d1e2f3a4b5c6d7e0", "65a7b9c0d1e2f3a4b5c6d7e8"
NODES = [
    Node(SHOP, "Shop", "shop", "application", "", SHOP),
    Node(WEB, "web", WEB, "component", SHOP, f"{SHOP}.{WEB}"),
    Node("t1", "Twin", "", "application"),
    Node("t2", "Twin", "", "application"),
]
BY_LABEL = one_rule(applicationId="{{ labels.app | application }}")


def mapped(app: str, template: str = "{{ labels.app | application }}", **more: object) -> RenderResult:
    of = program(one_rule(applicationId=template, **more))
    of.set_directory("default", Directory(NODES).index)
    return outcome(of, a_request({"app": app}))


@pytest.mark.parametrize(
    ("app", "id_", "lookup"),
    [
        ("Shop", SHOP, Lookup.NAME),
        ("shop / web", WEB, Lookup.NAME),
        (WEB, WEB, Lookup.ID),
        ("Sohp", "unmapped", Lookup.UNKNOWN),
        ("Twin", "unmapped", Lookup.AMBIGUOUS),
    ],
)
def test_a_name_becomes_an_id_and_is_counted(app: str, id_: str, lookup: Lookup) -> None:
    result = mapped(app)
    assert (result.body or {})["applicationId"] == id_
    assert result.lookups == (lookup,)


def test_or_replaces_what_is_unknown() -> None:
    assert (mapped("Sohp", "{{ labels.app | application or 'kubernetes' }}").body or {})[
        "applicationId"
    ] == "kubernetes"


def test_empty_text_names_nothing_and_is_not_counted() -> None:
    assert mapped("").lookups == ()


def test_a_field_that_fell_back_says_which_application_is_unknown() -> None:
    result = mapped("Sohp")
    assert result.fallbacks["applicationId"].reason is Reason.EMPTY
    assert (
        "applicationId: empty ('Sohp' is no application that COC lists)"
        in (result.body or {})["additional"]["fallback"]
    )
    assert "names several applications" in str(mapped("Twin").fallbacks["applicationId"])


def test_an_application_that_is_not_required_may_be_unknown() -> None:
    of = program(BY_LABEL)
    of.set_directory("default", Directory(NODES).index)
    result = outcome(of, a_request({"app": "Sohp"}, contract=Contract(require_application_id=False)))
    assert "applicationId" not in (result.body or {})
    assert result.fallbacks == {}


def test_additional_has_the_name_or_the_way_unless_the_mapping_sets_it() -> None:
    assert (mapped("shop").body or {})["additional"]["application"] == "Shop"
    assert (mapped("Shop/web").body or {})["additional"]["application"] == "Shop / web"
    assert (mapped("", SHOP).body or {})["additional"]["application"] == "Shop"
    assert "application" not in (mapped("Sohp").body or {})["additional"]
    own = mapped("shop", additional={"application": "mine {{ labels.app }}"})
    assert (own.body or {})["additional"]["application"] == "mine shop"


def test_a_table_may_hold_names() -> None:
    text = rules(
        {"name": "all", "alarm": {"applicationId": "{{ lookup.application[labels.namespace] | application }}"}},
        lookup={"application": {"web": "Shop / web"}},
    )
    of = program(text)
    of.set_directory("default", Directory(NODES).index)
    assert fields(of, a_request({"namespace": "web"}))["applicationId"] == WEB
    assert outcome(of, a_request({"namespace": "no"})).lookups == ()


def test_each_integration_has_its_own_directory() -> None:
    of = program(BY_LABEL)
    of.set_directory("a", Directory([Node("a1", "Shop", "", "application")]).index)
    of.set_directory("", Directory([Node("rest", "Shop", "", "application")]).index)
    for name, id_ in (("a", "a1"), ("b", "rest")):
        assert fields(of, a_request({"app": "Shop"}, integration=name))["applicationId"] == id_


def test_a_condition_may_ask_for_an_application() -> None:
    text = rules({"name": "known", "when": "labels.app | application", "drop": True})
    of = program(text)
    of.set_directory("default", Directory(NODES).index)
    assert outcome(of, a_request({"app": "shop"})).dropped
    assert not outcome(of, a_request({"app": "Sohp"})).dropped


async def id_of(mappings: LiveMappings, app: str = "Shop") -> str:
    (result,) = await mappings.render([a_request({"app": app})])
    return str((result.body or {})["applicationId"])


async def test_a_new_directory_is_used_at_once_by_the_same_worker_and_revision(tmp_path: Path) -> None:
    write(tmp_path, a=BY_LABEL)
    async with opened(tmp_path) as mappings:
        before, pids = mappings.revision, workers()
        assert await id_of(mappings) == "unmapped"
        for id_ in ("first", "second"):
            await mappings.set_applications({"default": Directory([Node(id_, "Shop", "", "application")]).index})
            assert await id_of(mappings) == id_
        await mappings.set_applications({"default": None})
        assert await id_of(mappings) == "unmapped"
        assert (mappings.revision, workers()) == (before, pids)


async def test_a_worker_that_is_replaced_has_the_directory(tmp_path: Path) -> None:
    write(tmp_path, a=one_rule(applicationId="{{ labels.app | application }}", resourceName="{{ 'x' * 10**9 }}"))
    async with opened(tmp_path, memory=256 << 20) as mappings:
        await mappings.set_applications({"default": Directory(NODES).index})
        assert await id_of(mappings) == SHOP
    write(tmp_path, a=BY_LABEL)
    async with opened(tmp_path) as mappings:
        await mappings.set_applications({"default": Directory(NODES).index})
        write(tmp_path, a=one_rule(applicationId="{{ labels.app | application }}", resourceName="new"))
        assert await mappings.reload()
        assert await id_of(mappings) == SHOP
        drafts = DraftProcess(mappings)
        assert (await drafts.render([a_request({"app": "Shop"})]))[0].lookups == (Lookup.NAME,)
        await drafts.close()


async def test_only_what_is_rendered_for_coc_is_told(tmp_path: Path) -> None:
    told: list[tuple[str, Sequence[Lookup]]] = []
    write(tmp_path, a=BY_LABEL)
    async with opened(tmp_path, looked_up=lambda name, lookups: told.append((name, lookups))) as mappings:
        drafts = DraftProcess(mappings)
        await drafts.render([a_request({"app": "Shop"})])
        await drafts.close()
        await mappings.render([a_request({"app": "Shop"}), a_request({"app": ""})])
    assert told == [("default", (Lookup.UNKNOWN,))]


async def test_a_directory_too_large_for_the_worker_costs_nothing_but_itself(tmp_path: Path) -> None:
    write(tmp_path, a=BY_LABEL)
    huge = Directory([Node(f"{number:024x}", "x" * 250 + str(number), "", "application") for number in range(120_000)])
    async with opened(tmp_path, memory=160 << 20) as mappings:
        await mappings.set_applications({"default": huge.index, "other": Directory(NODES).index})
        (unknown,) = await mappings.render([a_request({"app": "Shop"})])
        (known,) = await mappings.render([a_request({"app": "Shop"}, integration="other")])
    assert (unknown.rule, unknown.lookups) == ("all", (Lookup.UNKNOWN,))
    assert (known.body or {})["applicationId"] == SHOP


async def test_renders_go_on_while_a_directory_of_ten_thousand_is_taken_over(tmp_path: Path) -> None:
    nodes = [Node(f"{number:024x}", f"Application {number}", f"a-{number}", "application") for number in range(10_000)]
    write(tmp_path, a=BY_LABEL)
    async with opened(tmp_path) as mappings:
        handing = asyncio.create_task(mappings.set_applications({"default": Directory(nodes).index}))
        results = [await id_of(mappings, "Application 77") for _ in range(200)]
        await handing
        assert await id_of(mappings, "application 9999") == nodes[9999].id
    assert set(results) <= {"unmapped", nodes[77].id}
