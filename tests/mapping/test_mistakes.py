"""Each mistake that people make is told in words that lead to the correction, and the correction is right."""

# ruff: noqa: E501 - what is written stands in one line

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from adapter.errors import Finding
from adapter.mapping import shipped
from adapter.mapping.tools.preview import check
from tests.builders import GROUP
from tests.mapping.builders import a_request, outcome, program
from tests.mapping.mistakes import ANNOTATIONS, ENCODINGS, FILES, LABELS, SECTIONS, Mistake

EACH = [pytest.param(mistake, id=mistake.written) for section in SECTIONS for mistake in section.mistakes]
DEFAULTS = """\
defaults: {alarmName: n, alarmLevel: Minor, nameSpace: s, applicationId: a, alarmDesc: d}
"""


def mapping(lines: str) -> str:
    """A mapping file with the lines where their key belongs."""
    if lines.startswith("lookup"):
        return f"""{lines}\n{DEFAULTS}rules:
  - name: it
    alarm: {{resourceName: "{{{{ lookup.name[labels.namespace] }}}}"}}
"""
    if lines.startswith("when"):
        return f"{DEFAULTS}rules:\n  - name: it\n    {lines}\n  - name: rest\n"
    return f"{DEFAULTS}rules:\n  - name: it\n    alarm:\n      {lines}\n      regionId: r\n"


def found_in(text: str | bytes, folder: Path) -> list[Finding]:
    (folder / "a.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(check(folder))


@pytest.mark.parametrize("mistake", EACH)
def test_a_mistake_is_told_where_it_stands(mistake: Mistake, tmp_path: Path) -> None:
    text = mapping(mistake.written)
    (finding,) = found_in(text, tmp_path)
    assert finding.text == mistake.says
    assert (finding.severity == "warning") is mistake.warning
    assert finding.line == next(number for number, line in enumerate(text.splitlines(), 1) if mistake.written in line)


@pytest.mark.parametrize("mistake", EACH)
def test_its_correction_has_no_finding_and_does_what_was_meant(mistake: Mistake, tmp_path: Path) -> None:
    assert found_in(mapping(mistake.instead), tmp_path) == []
    group = replace(GROUP, commonLabels={"namespace": "shop"})
    request = a_request(LABELS, ANNOTATIONS, startsAt="2026-11-23T15:15:43Z", group=group)
    result = outcome(program(tmp_path), request)
    if isinstance(mistake.gives, bool):
        assert (result.rule == "it") is mistake.gives
    else:
        assert (result.body or {})["resourceName"] == mistake.gives


@pytest.mark.parametrize(("what", "text", "says"), FILES, ids=[what for what, *_ in FILES])
def test_a_file_of_another_kind_is_recognised(what: str, text: str, says: str, tmp_path: Path) -> None:
    assert [finding.text for finding in found_in(text, tmp_path)] == [says]


@pytest.mark.parametrize(("encoding", "text", "line", "says"), ENCODINGS, ids=[name for name, *_ in ENCODINGS])
def test_a_file_in_another_encoding_is_recognised(
    encoding: str, text: bytes, line: int, says: str, tmp_path: Path
) -> None:
    (finding,) = found_in(text, tmp_path)
    assert (finding.text, finding.line) == (says, line)


@pytest.mark.parametrize(
    "lines",
    [
        """when: '"dev" in labels.namespace'""", """when: '"dba" in group.receiver'""", 'when: labels.a in ["dev"]',
        'when: labels.a in ("dev",)', """when: '"team" in labels'""", "when: labels.team in labels",
        'when: (labels.severity or "none") == "none"', 'when: labels.severity | default("none") == "none"',
        'when: labels.alertname | regex_search("^Kube") and (labels.node or labels.instance)',
        'when: (labels.severity | level) in ["Critical", "Major"]', 'when: labels.a == "a" or labels.a == "b"',
        'when: labels.a != "a" and labels.a != "b"', 'when: labels.a != "a" or labels.b != "b"',
        "when: (labels.value | float) > 90", 'when: labels.pod[:3] == "api" and labels.pod[0] == "a"',
        """when: "{'a': 'b'}[labels.x] == 'b'\"""", "when: labels.a == labels.b",
        """resourceName: "{{ labels.team or 'ops' }}\"""", """resourceName: "{{ 'a' if labels.x else 'b' }}\"""",
        """resourceName: "{% set q = ['a', 'b'] %}{% if labels.a in q %}x{% endif %}\"""",
        """resourceName: "{{ annotations.summary if annotations.summary not in annotations.description }}\"""",
        """resourceName: "{% set text = annotations.summary | trim %}{{ 'x' if labels.pod in text }}\"""",
        """resourceName: "{% for word in ['a', 'b'] %}{% if word in labels.x %}x{% endif %}{% endfor %}\"""",
        """resourceName: 'up{job="x"} 100% of {docs} costs $5 开始于（x）：“z”，'""",
        'resourceName: "{{ (labels.a | int) - (labels.b | int) }}{{ labels.a | int-1 }}"',
        """resourceName: '{{ labels.pod | regex_replace("^(.*)-[^-]+$", "\\\\1") | regex_search("\\\\bprod\\\\b") }}'""",
        """resourceName: '{{ "%s/%s" | format(labels.a, labels.b) }}{{ [labels.a, labels.b] | join("/") }}'""",
        """resourceName: '{{ labels.a ~ "\\n" ~ labels.b ~ "\\t" }}'""",
        """resourceName: "{{ labels.a == 'x' and 'Critical' or 'Minor' }}{{ labels .Pod }}\"""",
        """resourceName: '{{ true }}{{ 1 + 1 }}{{ labels | length }}{{ none }}'""",
        """resourceName: '{% set ns = namespace(x="") %}{% set ns.x = "a" %}{{ ns.x }}{{ dict(a=1).a }}'""",
        """resourceName: '{% macro m(x) %}{{ x }}{% endmacro %}{{ m(labels.a) }}'""",
        'lookup: {name: {shop: "a {b} 100%", b: ["x", "y"], c: 开始：（a）}}',
    ],
)  # fmt: skip
def test_what_is_meant_as_it_stands_has_no_finding(lines: str, tmp_path: Path) -> None:
    assert found_in(mapping(lines), tmp_path) == []


@pytest.mark.parametrize("value", ['["dev", "qa"]', '{dev: "x"}'], ids=["list", "table"])
def test_a_list_or_a_table_of_a_lookup_may_be_searched(value: str, tmp_path: Path) -> None:
    for search in ("lookup.t.quiet", "lookup.t[labels.team]"):
        rules = f"rules:\n  - name: a\n    when: labels.namespace in {search}\n    drop: true\n"
        assert found_in(f"lookup: {{t: {{quiet: {value}}}}}\n{rules}", tmp_path) == []


@pytest.mark.parametrize("search", ["lookup.t.quiet", "lookup.t[labels.team]", "lookup.t.absent"])
def test_a_text_of_a_lookup_is_a_text(search: str, tmp_path: Path) -> None:
    rules = f"rules:\n  - name: a\n    when: labels.namespace in {search}\n    drop: true\n"
    (finding,) = found_in(f'lookup: {{t: {{quiet: "dev, qa"}}}}\n{rules}', tmp_path)
    assert finding.severity == "warning"
    assert "looks for a piece" in finding.message


@pytest.mark.parametrize(
    ("lines", "hint"),
    [
        ('when: labels.a not in "dev, qa|test"', 'labels.a not in ["dev", "qa", "test"]'),
        ('when: labels.a | lower in ("dev" "qa")', 'labels.a | lower in ["devqa"]'),
        ("when: labels.a in annotations.b", "labels.a == annotations.b"),
        ('when: labels.a is in "dev"', 'labels.a in ["dev"]'),
        ('when: not (labels.a in "dev")', 'labels.a in ["dev"]'),
        ('when: labels.a in (labels.b or "dev")', 'labels.a in ["...", "..."]'),
        ("""when: '"" in labels.a'""", "write the label alone"),
        ("""resourceName: "{% if labels.a in 'dev' %}x{% endif %}\"""", 'labels.a in ["dev"]'),
        ("""resourceName: "{% set q = 'dev' %}{{ 'x' if labels.a in q else 'y' }}\"""", "labels.a == q"),
        ('when: labels.a != "x" and "y"', 'labels.a not in ["x", "y"]'),
        ('when: labels.a and (labels.b == "x" or "y")', 'labels.b in ["x", "y"]'),
        ("""resourceName: "{{ 'p' if labels.a == 'x' or 'y' else 'q' }}\"""", 'labels.a in ["x", "y"]'),
        ("""resourceName: "{{ labels.a == 'x' or 'y' }}\"""", 'labels.a in ["x", "y"]'),
        ('when: labels.a == ("x" and "y")', 'labels.a in ["x", "y"]'),
        ('when: labels.a not in ["x"] or labels.a != "y"', 'labels.a not in ["x", "y"]'),
        ('when: not (labels.a == "x") or not (labels.a == "y")', 'labels.a not in ["x", "y"]'),
        ('when: labels.a == "x" and labels.b and "y" == labels.a', 'labels.a in ["x", "y"]'),
        ('when: labels.a == "x" or labels.a != "x"', "one of the two is enough"),
        ('when: ("a" == "b")', ""), ("when: labels.a == none", "not labels.a"), ("when: labels.a == true", '"true"'),
        ("when: labels.a in [500, 502]", '"500"'), ("when: labels.a >= 90", "(labels.a | float) >= 90"),
        ("""resourceName: '{{ "a\\1\\n" }}{{ "\\\\d\\b" }}'""", '"a\\\\1\\n"'),
        ("""resourceName: |\n        {{ labels.a | regex_search("\\bprod\\b") }}""", 'in a block write "\\\\bprod\\\\b"'),
        ("""resourceName: "{{ '\\x07' }}\"""", "'\\\\\\\\a'"),
        ('resourceName: "see #{labels.a}"', "{{ labels.a }}"), ('resourceName: "on {instance}"', "{{ labels.instance }}"),
        ('resourceName: "${pod}"', "{{ labels.pod }}"), ('resourceName: "is $value"', "Alertmanager sends no value"),
        ("resourceName: ｛｛ labels.pod ｝｝", "{{ labels.pod }}"),
        ('lookup: {name: {"{{ labels.x }}": a}}', "write the template in the field"),
        ("when: labels.has('x')", "write labels.has"),
        ("lookup: {name: {a: “web”}}", 'type "'),
        ('lookup: {name: {a: {b: ["$labels.x"]}}}', "write the template in the field"),
        ("""resourceName: "{{ '{}'.format(labels.a) }}\"""", '"%s" | format(VALUE)'),
        ("""resourceName: "{{ (labels.a | lower).strip() }}\"""", "labels.a | lower | trim"),
    ],
)  # fmt: skip
def test_another_mistake_of_the_kind_is_a_warning_with_what_to_write(lines: str, hint: str, tmp_path: Path) -> None:
    found = found_in(mapping(lines), tmp_path)
    assert {finding.severity for finding in found} == {"warning"}
    assert hint in found[0].hint


@pytest.mark.parametrize(
    ("lines", "hint"),
    [
        ("resourceName: '{{ labels.k8s.pod.name }}'", 'labels["k8s.pod.name"]'),
        ("resourceName: '{{ annotations[\"a\"].b }}'", 'annotations["a.b"]'),
        ("resourceName: '{{ group.commonLabels.service.name }}'", 'group.commonLabels["service.name"]'),
        ("when: labels.app.kubernetes.io/name", 'labels["app.kubernetes.io/name"]'),
        ("when: labels.kubernetes-namespace == 'a'", 'labels["kubernetes-namespace"]'),
        ("when: labels.is-not-ready", 'labels["is-not-ready"]'), ("when: labels.a-1", 'labels["a-1"]'),
        ("resourceName: '{{ labels.alert.title }}'", 'labels["alert.title"]'),
        ("resourceName: '{{ integration.upper }}'", "integration | upper"),
        ("resourceName: '{{ labels.a | attr(\"lower\") }}'", "labels.a | lower"),
        ("resourceName: '{{ range }}'", "each alert is an alarm"), ("resourceName: '{{ dict }}'", "call it"),
        ("resourceName: '{{ namespace ~ labels.a }}'", "labels.namespace"),
        ("when: labels.a || labels.b", "`or`"), ("when: labels.a ?? labels.b", "`or`"),
        ("when: labels.a === 'x'", "`==`"), ("when: labels.a <> 'x'", "`!=`"), ("when: labels.a AND labels.b", "`and`"),
        ("when: labels.a !~ 'x.*'", "not labels.a | regex_search('^(?:x.*)$')"),
        ("when: labels.a contains 'x'", "'x' in labels.a"), ("when: '!labels.a'", "`not`"),
        ("when: not .Labels.a", "`not labels.a`"), ("when: if eq .Labels.a 'x'", "labels.a == 'x'"),
        ("""when: and (eq .Labels.a "x") (ne .Labels.b "y")""", 'labels.a == "x" and labels.b != "y"'),
        ("resourceName: '{{ toUpper .Labels.a }}'", "labels.a | upper"),
        ("""resourceName: '{{ .Labels.a | default "x|y" | toUpper | safeHtml }}'""", 'labels.a | default("x|y") | upper`'),
        ("""resourceName: '{{ .StartsAt | tz "Asia/Shanghai" }}'""", 'alert.startsAt | localtime("Asia/Shanghai")'),
        ("resourceName: '{{ (.StartsAt.Add 28800e9).Format \"x\" }}'", "alert.startsAt | localtime"),
        ("resourceName: '{{ index lookup.t .Labels.a }}'", "lookup.t[labels.a]"),
        ("resourceName: '{{ (index .Alerts 0).Labels.a }}'", "each alert is an alarm"),
        ("resourceName: '{{ .DashboardURL }}'", "Alertmanager sends no such field"),
        ("when: '{{ if match \"^db-\" .Labels.a }}'", 'labels.a | regex_search("^db-")'),
        ("resourceName: '{{ $.Labels.a }}'", "labels.a"), ("when: '${labels.a} == 1'", "write labels.a"),
        ("when: '{ labels.a }'", "write labels.a"), ("when: '%(pod)s == 1'", "write labels.pod"),
        ("resourceName: '{{ len .Alerts }}'", "each alert is an alarm"), ("resourceName: '{{ .Alerts }}'", "each alert"),
        ("""resourceName: '{{ join ", " .Values }}'""", "join"), ("resourceName: '{{ .Value }}'", "no value"),
        ("""resourceName: '{{ dateInZone "15:04" (.StartsAt) "Asia/Shanghai" }}'""",
         'alert.startsAt | localtime("Asia/Shanghai", "%H:%M")'),
        ("resourceName: '{{ humanize annotations.value }}'", "alerting rule"),
        ("resourceName: '{{ define \"x\" }}a{{ end }}'", "no named templates"),
        ("resourceName: '{{ $x := .Labels.a }}'", "{% set x = labels.a %}"),
        ("resourceName: '{{ with .Labels.a }}x{{ end }}'", "{% if labels.a %}"),
        ("resourceName: '{{ labels.a | printf \"%s!\" }}'", '"%s!" | format(VALUE)'),
        ("resourceName: '{{ labels.a | trunc 20 }}'", "clip(20)"), ("resourceName: '{{ now() }}'", "alert.startsAt"),
        ("resourceName: '{% labels.a %}'", "{{ labels.a }}"), ("resourceName: '{% end %}'", "{% endif %}"),
        ("resourceName: '{% unless labels.a %}x{% endunless %}'", "{% if not labels.a %}"),
        ("resourceName: '{% if labels.a %}x{% elsif labels.b %}y{% endif %}'", "{% elif labels.b %}"),
        ("resourceName: '{% assign x = labels.a %}'", "{% set x = labels.a %}"),
        ("resourceName: '{{ lookup.t.get(labels.a, \"x\") }}'", 'lookup.t[labels.a] or "x"'),
        ("when: alert.severity", "labels.severity"), ("when: group.status", "alert.status"),
        ("resourceName: '{{ labels['a'] }}'", "inside write double quotes"), ("resourceName: @x", "quotes"),
        ("resourceName: {% if labels.a %}x{% endif %}", "quotes"), ("resourceName: Pod {{ labels.a }}: x", "quotes"),
        ('resourceName:"x"', "': '"), ("resourceName:\u3000x", "ordinary space"), ("“resourceName”: x", "type \""),
        ("when: labels.a == ‘x’", "type '"), ("when: labels.a in [“x”，“y”]", "type \""),
        ("when: !labels.a", "needs quotes"), ("when: labels.a =~ /x.*/", 'labels.a | regex_search("^(?:x.*)$")'),
        ("when: labels.a is 'x'", "labels.a == 'x'"), ("when: labels.a is not x", '`== "x"`'),
        ("when: exists(labels.a)", "labels.NAME alone"),
        ("when: labels.a == 'x';", "leave it out"), ("summary: x", "write alarmDesc"), ("severity: x", "write alarmLevel"),
    ],
)  # fmt: skip
def test_another_mistake_that_cannot_work_is_told_with_what_to_write(lines: str, hint: str, tmp_path: Path) -> None:
    found = [finding for finding in found_in(mapping(lines), tmp_path) if finding.severity == "error"]
    assert any(hint in finding.hint for finding in found), found


@pytest.mark.parametrize("key", ["if: labels.a", "match: {a: b}", 'matchers: ["a=b"]'])
def test_a_condition_under_another_name_is_told_its_own(key: str, tmp_path: Path) -> None:
    (finding,) = found_in(f"{DEFAULTS}rules:\n  - name: a\n    {key}\n", tmp_path)
    assert "write `when:`" in finding.hint


def test_a_line_that_is_indented_too_far_is_told(tmp_path: Path) -> None:
    (finding,) = found_in(f"{DEFAULTS}rules:\n  - name: a\n     when: labels.a\n", tmp_path)
    assert (finding.line, finding.col, finding.message) == (4, 6, "this line is indented more than those before it")


def test_errors_and_warnings_are_told_in_one_run(tmp_path: Path) -> None:
    text = mapping('when: labels.namespace in ("dev")') + "    alarm: {resourceName: '{{ lables.x }}'}\n"
    assert [finding.severity for finding in found_in(text, tmp_path)] == ["warning", "error"]


def test_the_shipped_mappings_have_no_finding() -> None:
    assert list(check(shipped())) == []
