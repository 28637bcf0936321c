"""The mapping language: names, rules, defaults, tables, and alert text that stays data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import GROUP
from tests.mapping.builders import SOUND, a_request, fields, one_rule, outcome, program, reasons, rules, text_of


def test_the_first_rule_whose_condition_is_true_takes_the_alert() -> None:
    of = program(
        rules(
            {"name": "node", "when": "labels.node", "alarm": SOUND},
            {"name": "pod", "when": "labels.pod", "alarm": SOUND},
            {"name": "rest", "alarm": SOUND},
        )
    )
    assert outcome(of, a_request({"pod": "p", "node": "n"})).rule == "node"
    assert outcome(of, a_request({"pod": "p"})).rule == "pod"
    assert outcome(of, a_request()).rule == "rest"


def test_files_are_tried_in_name_order_and_keep_their_own_tables(tmp_path: Path) -> None:
    for name, app in (("b", "second"), ("a", "first")):
        text = rules(
            {
                "name": app,
                "when": f"lookup.t[labels.team] == '{app}'",
                "alarm": {**SOUND, "resourceName": "{{ lookup.t[labels.team] }}"},
            },
            lookup={"t": {name: app}},
        )
        (tmp_path / f"{name}.yaml").write_text(text)
    of = program(tmp_path)
    result = outcome(of, a_request({"team": "b"}))
    assert (result.rule, result.mapping) == ("second", "b.yaml")
    assert fields(of, a_request({"team": "a"}))["resourceName"] == "first"
    assert outcome(of, a_request({"team": "c"})).rule is None


def test_a_dropped_alert_has_no_body() -> None:
    of = rules(
        {"name": "watchdog", "when": "labels.alertname == 'Watchdog'", "drop": True}, {"name": "x", "alarm": SOUND}
    )
    result = outcome(of, a_request({"alertname": "Watchdog"}))
    assert (result.rule, result.dropped, result.body) == ("watchdog", True, None)


def test_an_alert_no_rule_takes_gets_the_built_in_mapping() -> None:
    result = outcome(rules({"name": "x", "when": "labels.nothing", "alarm": SOUND}), a_request({"namespace": "shop"}))
    assert (result.rule, result.mapping, result.dropped) == (None, None, False)
    assert set(reasons(result).values()) == {"no rule"}
    assert set(reasons(result)) == {"alarmName", "alarmLevel", "nameSpace", "applicationId", "alarmDesc"}
    assert result.body is not None
    assert {
        name: result.body[name] for name in ("alarmName", "alarmLevel", "nameSpace", "applicationId", "alarmDesc")
    } == {
        "alarmName": "PodDown",
        "alarmLevel": "Minor",
        "nameSpace": "shop",
        "applicationId": "unmapped",
        "alarmDesc": "down",
    }


def test_defaults_serve_every_field_a_rule_does_not_set() -> None:
    of = rules(
        {"name": "all", "alarm": {"resourceName": "own", "additional": {"a": "own", "c": "own"}}},
        defaults={**SOUND, "resourceName": "default", "additional": {"a": "default", "b": "default"}},
    )
    body = fields(of)
    assert body["resourceName"] == "own"
    assert body["alarmName"] == "PodDown"
    assert {key: body["additional"][key] for key in "abc"} == {"a": "own", "b": "default", "c": "own"}


def test_what_is_absent_is_the_empty_string() -> None:
    assert text_of("[{{ labels.nope }}{{ annotations.nope }}{{ labels['no pe'] }}]") == "[]"
    assert text_of("{{ labels.nope == '' and not annotations.nope }}") == "true"
    assert text_of("[{{ lookup.t[labels.nope] }}{{ lookup.t.nope }}]", lookup={"t": {"a": "b"}}) == "[]"
    assert text_of("{{ labels.nope | default('absent') }}") == "absent"
    assert text_of("[{{ none }}]") == "[]"


@pytest.mark.parametrize(
    "name", ["items", "keys", "get", "values", "update", "pop", "__class__", "if", "Ünïcode.name", "a b", ""]
)
def test_a_label_of_any_name_is_reachable(name: str) -> None:
    assert text_of(f"{{{{ labels[{json.dumps(name, ensure_ascii=False)}] }}}}", a_request({name: "here"})) == "here"


def test_a_dot_reaches_labels_that_are_called_like_methods() -> None:
    template = "{{ labels.items }},{{ labels.keys }},{{ annotations.get }}"
    assert text_of(template, a_request({"items": "i", "keys": "k"}, {"get": "g"})) == "i,k,g"
    assert text_of(template) == ",,"


@pytest.mark.parametrize(
    "expression",
    [
        "text.upper", "text.upper()", "text['upper']", "labels.pod[labels.method]", "labels.pod | attr(labels.method)",
        "text.split('x')[0]", "[labels.pod] | map(attribute='upper') | first", "('{}' | first).format(labels.pod)",
    ],
)  # fmt: skip
def test_no_attribute_or_method_of_a_text_is_reachable(expression: str) -> None:
    request = a_request({"pod": "p", "method": "upper"})
    template = f"{{% set text = [labels.pod] | first %}}{{{{ {expression} }}}}"
    assert reasons(outcome(one_rule(resourceName=template), request)) == {"resourceName": "error"}


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("labels", "a table is not text, a number or a boolean"), ("alert", "a table is"), ("lookup.t", "a table is"),
        ("lookup.t.list", "a list is"), ("range(3)", "a range is"), ("namespace(a=1)", "a Namespace is"),
        ("labels | map('upper')", "a generator is"), ("[1].count", "a builtin_function_or_method is"),
        ("[range(2)] | first", "a range is"),
    ],
)  # fmt: skip
def test_what_is_not_text_a_number_or_a_boolean_is_never_sent(expression: str, says: str) -> None:
    of = rules(
        {"name": "all", "alarm": {**SOUND, "nameSpace": f"x {{{{ {expression} }}}}"}}, lookup={"t": {"list": ["a"]}}
    )
    result = outcome(of, a_request({"namespace": "shop"}))
    assert reasons(result) == {"nameSpace": "error"}
    assert result.fallbacks["nameSpace"].detail.startswith(says)
    assert (result.body or {})["nameSpace"] == "shop"


def test_indexes_slices_numbers_and_booleans_are_sent() -> None:
    assert text_of("{{ labels.pod[:2] }}{{ labels.pod[-1] }}", a_request({"pod": "abc"})) == "abc"
    assert (
        text_of("{{ 1 + 1 }},{{ 0.5 }},{{ labels | length }},{{ labels.pod | escape }}", a_request({"pod": "<"}))
        == "2,0.5,3,&lt;"
    )


def test_a_template_can_loop_over_all_labels() -> None:
    template = "{% for name, value in labels | dictsort %}{{ name }}={{ value }} {% endfor %}{{ labels | length }}"
    assert text_of(template) == "alertname=PodDown severity=warning 2"
    assert text_of("{% for name, value in labels | items %}{{ name }} {% endfor %}") == "alertname severity"


def test_every_name_has_its_documented_value() -> None:
    group = replace(
        GROUP,
        receiver="coc",
        groupKey="k",
        groupLabels={"items": "gl"},
        commonLabels={"b": "cl"},
        commonAnnotations={"c": "ca"},
        externalURL="http://am",
    )
    request = a_request(
        {"a": "la"}, {"a": "an"}, group=group, integration="team-a",
        fingerprint="f1", startsAt="2026-01-01T00:00:00Z", generatorURL="http://g",
    )  # fmt: skip
    template = (
        "{{ [labels.a, annotations.a, alert.status, alert.startsAt, alert.endsAt, alert.generatorURL,"
        " alert.fingerprint, group.receiver, group.groupKey, group.groupLabels.items, group.commonLabels.b,"
        " group.commonAnnotations.c, group.externalURL, integration] | join(' ') }}"
    )
    assert text_of(template, request) == (
        "la an firing 2026-01-01T00:00:00Z 0001-01-01T00:00:00Z http://g f1 coc k gl cl ca http://am team-a"
    )


def test_a_name_that_is_not_of_the_language_fails_when_it_gets_that_far() -> None:
    """`check` refuses it where it can be seen; where it cannot, the field falls back."""
    result = outcome(one_rule(resourceName="{{ alert[labels.severity] }}"), a_request({"severity": "nope"}))
    assert result.fallbacks == {"resourceName": ("error", "there is no 'nope'")}


def test_what_one_field_sets_is_not_seen_by_the_next() -> None:
    body = fields(
        one_rule(resourceName="{% set integration = 'mine' %}{{ integration }}", resourceId="{{ integration }}")
    )
    assert (body["resourceName"], body["resourceId"]) == ("mine", "default")


def test_a_table_keeps_what_was_typed() -> None:
    tables = {"t": {"text": "010", "no": "no", "number": 5, "list": ["a", "b"], "deep": {"er": "x"}, "items": "i"}}
    template = (
        "{{ lookup.t.text }},{{ lookup.t.no }},{{ lookup.t.number }},{{ lookup.t.list[1] }},{{ lookup.t.deep.er }},"
        "{{ lookup.t.deep.none }},{{ lookup.t.items }}"
    )
    assert text_of(template, lookup=tables) == "010,no,5,b,x,,i"


def test_a_failing_field_falls_back_alone() -> None:
    result = outcome(
        one_rule(nameSpace="{{ 1 / 0 }}", URL="{{ [].x.y }}", resourceName="{{ labels.pod }}"), a_request({"pod": "p"})
    )
    assert reasons(result) == {"nameSpace": "error", "URL": "error"}
    assert result.body is not None
    assert (result.body["nameSpace"], result.body["resourceName"], result.body["alarmName"]) == (
        "default",
        "p",
        "PodDown",
    )
    assert "URL" not in result.body
    assert result.body["additional"]["fallback"].startswith("nameSpace: error (division by zero); URL: error (")


def test_a_failing_additional_value_is_left_out() -> None:
    result = outcome(
        one_rule(additional={"bad": "{{ 1 / 0 }}", "good": "x", "empty": "{{ labels.nope }}"}), a_request()
    )
    assert reasons(result) == {"additional.bad": "error"}
    assert result.body is not None
    assert result.body["additional"]["good"] == "x"
    assert not {"bad", "empty"} & set(result.body["additional"])


def test_a_failing_condition_is_not_true_and_drops_nothing() -> None:
    of = rules(
        {"name": "broken", "when": "1 / 0", "drop": True},
        {"name": "too", "when": "alert[labels.nope]", "alarm": SOUND},
        {"name": "rest", "alarm": SOUND},
    )
    result = outcome(of, a_request())
    assert (result.rule, result.dropped) == ("rest", False)
    ((field, (reason, detail)),) = result.fallbacks.items()
    assert (field, reason) == ("when", "error")
    assert detail.startswith("rule broken: division by zero; rule too: ")


@pytest.mark.parametrize("when", [{}, {"when": "labels.alertname"}])
@pytest.mark.parametrize(("rest", "rule"), [([{"name": "rest", "alarm": SOUND}], "rest"), ([], None)])
def test_after_a_failed_condition_no_later_rule_drops_the_alert(
    when: dict[str, str], rest: list[dict[str, object]], rule: str | None
) -> None:
    result = outcome(rules({"name": "broken", "when": "1 / 0", "alarm": SOUND}, {"name": "noise", **when, "drop": True},
                           *rest), a_request())  # fmt: skip
    assert (result.rule, result.dropped) == (rule, False)
    assert reasons(result)["when"] == "error"
    assert "when: error (rule broken: division by zero)" in (result.body or {})["additional"]["fallback"]


def test_a_condition_that_fails_after_a_drop_decided_changes_nothing() -> None:
    of = rules({"name": "noise", "when": "labels.alertname", "drop": True}, {"name": "broken", "when": "1 / 0",
               "alarm": SOUND})  # fmt: skip
    assert outcome(of, a_request()).dropped


def test_a_condition_after_the_match_is_not_tried() -> None:
    of = rules(
        {"name": "first", "when": "labels.pod", "alarm": SOUND}, {"name": "broken", "when": "1 / 0", "drop": True}
    )
    assert outcome(of, a_request({"pod": "p"})).fallbacks == {}


TEMPLATE_LIKE = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.sampled_from(
            ["{{", "}}", "{%", "%}", "{#", "#}", " labels.alertname ", '"', "\\", "\n", "', ", "{{ 1/0 }}", "%s"]
        ),
        max_size=8,
    ).map("".join),
)


@given(TEMPLATE_LIKE)
def test_alert_text_is_data_and_never_a_template(text: str) -> None:
    body = fields(PLAIN, a_request({"pod": text}, {"summary": text or "x", "description": text}))
    stripped = body.get("resourceName", "")
    assert "PodDown" not in stripped or "PodDown" in text
    assert body["additional"].get("copy", "") == body["additional"].get("fused", "")
    json.loads(json.dumps(body))


PLAIN = program(
    one_rule(
        resourceName="{{ labels.pod }}",
        additional={"copy": "{{ annotations.description }}", "fused": "{{ annotations.description }}"},
    )
)


def test_text_like_braces_arrives_as_it_is() -> None:
    text = '{{ labels.alertname }}{% raw %}"quoted" \\n'
    assert fields(PLAIN, a_request({"pod": text}))["resourceName"] == text


def test_rendered_values_are_stripped() -> None:
    assert text_of("\n  {{ labels.pod }}\t\n", a_request({"pod": " x "})) == "x"


def test_a_rule_of_plain_texts_needs_no_template() -> None:
    body = fields(rules({"name": "all", "alarm": {**SOUND, "alarmName": "a", "nameSpace": "n", "resourceName": "r"}}))
    assert (body["alarmName"], body["nameSpace"], body["resourceName"]) == ("a", "n", "r")


TABLES = {"paging": {"shop": True, "pay": False}, "phone": {"shop": "+8613900000000"}}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ lookup.paging.shop }} {{ lookup.paging.pay }}", "true false"),
        ("{{ 'p-' ~ lookup.paging.pay ~ '-' ~ lookup.paging.shop }}", "p-false-true"),
        ("{{ lookup.paging.pay | string }}{{ (1 ~ lookup.paging.shop) | upper }}", "false1TRUE"),
        ("{{ labels.severity == 'warning' }}", "true"),
        ("{{ 'off' if not lookup.paging.pay else 'on' }}", "off"),
        ("{{ 'off' if lookup.paging.pay is false else 'on' }}", "off"),
        ("{{ lookup.paging.pay or 'not listed' }}", "not listed"),
        ("{{ lookup.paging.shop and lookup.phone.shop }}", "+8613900000000"),
        ("{{ {'名': '磁盘 <&>', 'b': lookup.paging.shop} | tojson }}", '{"b": true, "名": "磁盘 <&>"}'),
        ("{{ lookup.paging | tojson }}", '{"pay": false, "shop": true}'),
        ("{{ ['磁', 1] | tojson(indent=1) | replace('\n', '') }}", '[ "磁", 1]'),
    ],
)
def test_booleans_are_printed_as_yaml_writes_them_and_json_keeps_its_letters(template: str, text: str) -> None:
    of = program(rules({"name": "all", "alarm": {**SOUND, "resourceName": template}}, lookup=TABLES))
    result = outcome(of, a_request())
    assert result.fallbacks == {}
    assert (result.body or {})["resourceName"] == text


def test_what_stands_in_a_table_is_what_arrives() -> None:
    of = program((Path(__file__).parent.parent / "data" / "field" / "53-lookup-values.yaml").read_text())
    results = [outcome(of, a_request({"namespace": name})) for name in ("shop", "pay", "dev")]
    additional = [(result.body or {})["additional"] for result in results]
    wanted = {"phone", "paging", "falsy", "empty"}
    sent = [{name: extra[name] for name in extra.keys() & wanted} for extra in additional]
    assert sent == [
        {"phone": "+8613900000000", "paging": "true", "falsy": "true"},
        {"phone": "+8613900000001", "paging": "false", "falsy": "not listed"},
        {"paging": "yes", "falsy": "yes"},
    ]
