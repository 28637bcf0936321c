"""`check --online`: the applications that a mapping file names by literal text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.application import Directory, Node
from adapter.mapping.rules.applications import named_applications
from adapter.mapping.rules.files import load
from adapter.mapping.tools.applications import not_listed
from tests.mapping.builders import SOUND, one_rule, rules, write

ID = "18cfa0a5ef8d"
LOOKUP = {"app": {"a": "Shop", "b": ID, "c": 123456789012}, "deep": {"x": {"y": "Inner"}, "z": {"y": "Other"}}}


def named(folder: Path, template: str, field: str = "applicationId") -> set[tuple[str, bool]]:
    """Literal text, and whether it meets the filter."""
    table = " {{ lookup }}"  # so that no table is unused
    text = rules({"name": "r", "alarm": {**SOUND, "alarmDesc": table, field: template}}, lookup=LOOKUP)
    found = named_applications(load(write(folder, a=text)).files)
    return {(one.text, one.filtered) for one in found} - {("app-1", False)}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (ID, {(ID, False)}),
        (f"  {ID}\n", {(ID, False)}),
        ("{{ labels.app }}", set()),
        ("{{ 'Shop' }}", {("Shop", False)}),
        ("{{ 'Shop' | application }}", {("Shop", True)}),
        ("{{ ' Shop ' | trim | upper | application }}", {("Shop", True)}),
        ("{{ 'Shop' | replace('S', 'T') | application }}", set()),
        ("{{ labels.app | application or 'kubernetes' }}", {("kubernetes", False)}),
        ("{{ (labels.app or 'Shop') | application }}", {("Shop", True)}),
        ("{{ labels.app | default('Shop') | application }}", {("Shop", True)}),
        ("{{ ('Shop' if labels.x else 'Pay') | application }}", {("Shop", True), ("Pay", True)}),
        ("{{ labels.x and 'Shop' }}", {("Shop", False)}),
        ("{% if labels.x %}Shop{% else %}{{ 'Pay' | application }}{% endif %}", {("Shop", False), ("Pay", True)}),
        ("{% set x = 'Shop' %}{{ x | application }}", {("Shop", True)}),
        ("{% set x = x or 'Shop' %}{{ x | application }}", {("Shop", True)}),
        ("{{ 'Shop / ' ~ labels.x | application }}", set()),
        ("{{ labels.a }}-{{ 'Shop' }}", set()),
        ("{{ lookup.app[labels.x] }}", {("Shop", False), (ID, False), ("123456789012", False)}),
        ("{{ lookup.app[labels.x] | application }}", {("Shop", True), (ID, True), ("123456789012", True)}),
        ("{{ lookup['app'].a | application }}", {("Shop", True)}),
        ("{{ lookup.deep[labels.x].y | application }}", {("Inner", True), ("Other", True)}),
        ("{{ lookup.deep.x[labels.y] | application }}", {("Inner", True)}),
        ("{{ lookup[labels.x] | string }}", set()),
    ],
)
def test_what_an_expression_may_become_is_found(tmp_path: Path, template: str, expected: set[tuple[str, bool]]) -> None:
    if "x = x or" in template:  # a name that is not known yet is a finding
        template = "{% set x = labels.y %}" + template
    assert named(tmp_path, template) == expected


def test_the_filter_is_looked_for_in_every_field_and_condition_the_text_only_in_application_id(tmp_path: Path) -> None:
    assert named(tmp_path, "{{ 'Shop' | application }}", "resourceName") == {("Shop", True)}
    assert named(tmp_path, ID, "resourceId") == set()
    text = rules({"name": "r", "when": "'Shop' | application", "drop": True})
    assert [one.text for one in named_applications(load(write(tmp_path, a=text)).files)] == ["Shop"]


def test_a_default_of_many_rules_is_one_finding(tmp_path: Path) -> None:
    defaults = {**SOUND, "applicationId": "{{ 'Sohp' | application }}"}
    text = rules(*({"name": name, "when": f"labels.{name}"} for name in "abc"), defaults=defaults)
    findings = not_listed(load(write(tmp_path, a=text)), [Directory([Node("1", "Shop", "", "application")])])
    assert [(finding.message, finding.hint) for finding in findings] == [
        ("COC lists no application named 'Sohp'", "nearest: 'Shop'")
    ]


def test_what_one_of_the_integrations_lists_is_good(tmp_path: Path) -> None:
    ruleset = load(write(tmp_path, a=one_rule(applicationId="{{ 'Shop' | application }}")))
    shop, pay = Directory([Node("1", "Shop", "", "application")]), Directory([Node("2", "Pay", "", "application")])
    assert not_listed(ruleset, [pay, shop]) == []
    assert len(not_listed(ruleset, [pay])) == 1


def test_of_very_many_a_hundred_are_told(tmp_path: Path) -> None:
    table = {f"k{number}": f"Application {number}" for number in range(300)}
    text = rules(
        {"name": "r", "alarm": {"applicationId": "{{ lookup.t[labels.a] | application }}"}}, lookup={"t": table}
    )
    assert len(not_listed(load(write(tmp_path, a=text)), [Directory([])])) == 100


def test_the_shipped_mappings_name_none() -> None:
    folder = Path(__file__).resolve().parents[2] / "mappings"
    assert not_listed(load(folder), [Directory([])]) == []


@given(text=st.text(max_size=30))
def test_any_text_is_looked_for_without_harm(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    try:
        source = one_rule(applicationId="{{ " + json.dumps(text) + " | application }}")
        ruleset = load(write(tmp_path_factory.mktemp("m"), a=source))
    except Exception:
        return
    assert len(not_listed(ruleset, [Directory([])])) == bool(text.strip())
