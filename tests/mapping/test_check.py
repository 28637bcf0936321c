"""Every mistake an SRE can make in a mapping file is reported at its position, before anything is rendered."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapter.errors import Finding, MappingError
from adapter.mapping.rules.files import Snapshot, load, parse
from adapter.mapping.rules.lint import lint
from adapter.mapping.rules.model import MappingFile, Rule
from adapter.mapping.tools.preview import check
from adapter.yamlfile import YamlFile
from tests.mapping.builders import SOUND, one_rule, rules, write
from tests.mapping.crashing import CRASHING

CORPUS = sorted((Path(__file__).parent.parent / "data" / "bad_mappings").glob("*.yaml"))


def findings_of(directory: Path) -> list[Finding]:
    try:
        return list(load(directory).warnings)
    except MappingError as exc:
        return list(exc.findings)


def test_the_corpus_is_large_enough() -> None:
    assert len(CORPUS) >= 40


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_each_mistake_is_reported_where_it_stands(path: Path, tmp_path: Path) -> None:
    """The comments on top of each file are all of the findings of `check`."""
    text = path.read_text()
    expected = [line[2:] for line in text.splitlines() if line.startswith("# ") and ": " in line]
    name = "bad"
    found = findings_of(write(tmp_path, **{name: text}))
    shown = str(tmp_path / "bad.yaml")
    assert [str(finding).removeprefix(f"{shown}:") for finding in found] == expected
    lines = text.splitlines()
    for finding in found:
        if finding.line > len(lines):  # YAML noticed at the very end that something is missing
            continue
        caret = finding.with_caret().splitlines()
        assert caret[1].strip() in lines[finding.line - 1]  # a long line is not shown whole
        assert len(caret[2]) - 4 == finding.col


@pytest.mark.parametrize("text", CRASHING.values(), ids=CRASHING)
def test_what_once_crashed_the_check_is_a_finding_in_its_file(text: str, tmp_path: Path) -> None:
    write(tmp_path, a=text)
    errors = [finding for finding in check(tmp_path) if "COC requires" not in finding.message]
    assert {finding.file for finding in errors} == {str(tmp_path / "a.yaml")}


def test_a_number_that_is_too_long_is_found_where_it_stands(tmp_path: Path) -> None:
    write(tmp_path, a=CRASHING["YAML with a number of 5000 digits"])
    assert f"{tmp_path}/a.yaml:3:8: the number is too long (put it in quotes)" in map(str, check(tmp_path))


def test_whatever_else_goes_wrong_in_a_file_is_a_finding_too(tmp_path: Path) -> None:
    """No text is known that does, so that what is read, and a rule, are of wrong types here."""
    with pytest.raises(MappingError, match=r"a.yaml:0:0: the file cannot be read: AttributeError"):
        parse(tmp_path, Snapshot((("a.yaml", 5),), ""))  # type: ignore[arg-type]
    rule = Rule(name="r", when=5, drop=False, fields={}, loc=("rules", 0))  # type: ignore[arg-type]
    file = MappingFile(source=YamlFile("a.yaml", b""), name="a.yaml", lookup={}, rules=(rule,))
    ((finding,), _) = lint([file])
    assert finding.message.startswith("the file cannot be checked: ")


def test_at_most_a_hundred_findings_are_told(tmp_path: Path) -> None:
    write(tmp_path, a=rules(*({"name": f"r{number}", "alarm": {"alarmName": "{{ x }}"}} for number in range(300))))
    found = check(tmp_path)
    assert len(found) == 101
    assert found[0].message == "there are more findings than the 100 that are shown"
    assert sum("unknown name" in finding.message for finding in found) == 100, "errors come before warnings"


def test_the_bound_on_all_rules_counts_every_file(tmp_path: Path) -> None:
    long = {**SOUND, "additional": {f"k{number}": "{{ 1 }}" + "x" * 8000 for number in range(25)}}
    entries = [{"name": f"r{number}", "when": f"labels.a == '{number}'"} for number in range(50)]
    write(tmp_path, a=rules(*entries, defaults=long))
    load(tmp_path)
    write(tmp_path, b=rules(*entries, defaults=long))
    with pytest.raises(MappingError, match=r"b.yaml:.*: the rules are larger than 16 MiB together"):
        load(tmp_path)


def test_of_a_long_line_only_what_is_near_the_finding_is_shown(tmp_path: Path) -> None:
    write(tmp_path, a=one_rule(alarmName="x" * 5000 + "{{ lables.a }}"))
    (finding,) = (one for one in check(tmp_path) if "lables" in one.message)
    _, source, caret = finding.with_caret().splitlines()
    assert len(source) < 1100
    assert source[caret.index("^") :].startswith("lables.a")


def test_a_key_of_a_million_characters_is_not_told_in_full(tmp_path: Path) -> None:
    write(tmp_path, a=f"? {'x' * 1_000_000}\n: 1\nrules: []\n")
    assert all(len(finding.with_caret()) < 4000 for finding in check(tmp_path))


def test_tables_missing_among_thousands_are_told_soon_and_in_short(tmp_path: Path) -> None:
    tables = {f"{number:05}{'ab' * 90}": {} for number in range(15_000)}
    missing = {f"k{number}": f"{{{{ lookup.n{number}{'ba' * 90} }}}}" for number in range(50)}
    write(tmp_path, a=rules({"name": "all", "alarm": {**SOUND, "additional": missing}}, lookup=tables))
    found = [finding.with_caret() for finding in check(tmp_path) if "no lookup table" in finding.message]
    assert len(found) == 50  # difflib would take a quarter of an hour
    assert max(map(len, found)) < 4000


@pytest.mark.parametrize("name", ["line\nbreak.yaml", "half\udcff.yaml"])
def test_a_file_whose_name_is_not_text_is_a_finding(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(one_rule())
    (finding,) = check(tmp_path)
    assert finding.message == f"the file name {name!r} is not printable text"


def test_findings_of_all_files_come_together(tmp_path: Path) -> None:
    write(tmp_path, a=one_rule(resourceName="{{ podd }}"), b="rules: []", c=one_rule(URL="{{ url }}"))
    with pytest.raises(MappingError) as caught:
        load(tmp_path)
    assert {Path(finding.file).name for finding in caught.value.findings} == {"a.yaml", "b.yaml", "c.yaml"}


def test_a_rule_after_the_catch_all_of_another_file_is_unreachable(tmp_path: Path) -> None:
    write(tmp_path, a=one_rule(), b=rules({"name": "late", "alarm": SOUND}))
    assert [str(f).rsplit("/", 1)[1] for f in findings_of(tmp_path)] == [
        "b.yaml:1:21: warning: rule 'late' can never be reached (rule 'all' of a.yaml takes every alert)"
    ]


def test_a_rule_with_the_condition_of_another_file_is_unreachable(tmp_path: Path) -> None:
    """However it is spaced and quoted. A condition that reads a table of its file may differ."""
    write(tmp_path, a=rules({"name": "pod", "when": "labels.a == 'x' and labels.b", "alarm": SOUND}))
    write(tmp_path, b=rules({"name": "late", "when": '(labels.a=="x")  and  labels.b', "alarm": SOUND}))
    assert [(f.severity, f.text) for f in findings_of(tmp_path)] == [
        ("warning", "rule 'late' can never be reached (rule 'pod' of a.yaml has the same condition)")
    ]
    table = {"name": "all", "when": "lookup.t[labels.a]", "alarm": SOUND}
    write(tmp_path, b=rules(table, lookup={"t": {"a": "b"}}), c=rules(table, lookup={"t": {"c": "d"}}))
    assert findings_of(tmp_path) == []


def test_at_most_a_hundred_warnings_are_told(tmp_path: Path) -> None:
    write(tmp_path, a=rules(*({"name": f"r{number}", "alarm": SOUND} for number in range(300))))
    found = check(tmp_path)
    assert len(found) == 101
    assert {finding.severity for finding in found} == {"warning"}
    assert "there are more findings than the 100 that are shown" in {finding.message for finding in found}


def test_warnings_do_not_refuse_a_set(tmp_path: Path) -> None:
    write(tmp_path, a=rules({"name": "all", "alarm": SOUND}, lookup={"spare": {"a": "b"}}))
    assert [finding.message for finding in load(tmp_path).warnings] == ["the lookup table 'spare' is not used"]


def test_an_empty_directory_is_reported(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "cases.yaml").write_text("tests: []")
    (finding,) = findings_of(tmp_path)
    assert finding.message.startswith("no mapping file here")


def test_a_missing_directory_is_reported(tmp_path: Path) -> None:
    (finding,) = findings_of(tmp_path / "nowhere")
    assert (finding.file, finding.message) == (
        str(tmp_path / "nowhere"),
        "cannot be read: No such file or directory",
    )


def test_bytes_that_are_not_text_are_reported(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"rules: \xff\n")
    (finding,) = findings_of(tmp_path)
    assert finding.message == "not UTF-8: byte 7 is not part of a character"


def test_yml_is_read_and_hidden_files_are_not(tmp_path: Path) -> None:
    write(tmp_path, a=one_rule())
    (tmp_path / "b.yml").write_text("rules: [x]")
    (tmp_path / ".hidden.yaml").write_text("rules: [x]")
    assert [Path(finding.file).name for finding in findings_of(tmp_path)] == ["b.yml"]


def test_check_tries_every_rule_on_a_plain_alert(tmp_path: Path) -> None:
    """Only running them shows that these can never be rendered."""
    slow = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    write(
        tmp_path,
        a=rules(
            {"name": "heavy", "when": "labels.heavy", "alarm": {**SOUND, "resourceName": "{{ 'a' * 10**9 }}"}},
        ),
        b=rules(
            {"name": "slow", "when": "labels.slow", "alarm": {**SOUND, "resourceName": slow}},
            {"name": "rest", "alarm": SOUND},
        ),
    )
    assert [(Path(finding.file).name, finding.message) for finding in check(tmp_path)] == [
        ("a.yaml", "tried on a plain alert, the template wants too much: memory"),
        ("b.yaml", "tried on a plain alert, the template wants too much: stopped after 1 s"),
    ]


def test_a_sound_set_has_no_findings(tmp_path: Path) -> None:
    assert list(check(write(tmp_path, a=one_rule()))) == []


def test_every_name_of_the_language_is_known(tmp_path: Path) -> None:
    text = (
        "{{ labels.a ~ annotations.b ~ alert.status ~ alert.startsAt ~ alert.endsAt ~ alert.generatorURL"
        " ~ alert.fingerprint ~ group.receiver ~ group.groupKey ~ group.groupLabels.a ~ group.commonLabels.b"
        " ~ group.commonAnnotations.c ~ group.externalURL ~ integration ~ lookup.t.x }}"
    )
    write(tmp_path, a=rules({"name": "all", "alarm": {**SOUND, "resourceName": text}}, lookup={"t": {"x": "y"}}))
    assert findings_of(tmp_path) == []


def test_names_set_in_a_template_are_known(tmp_path: Path) -> None:
    text = (
        "{% set x = labels.a %}{% for name, value in labels | dictsort %}{{ loop.index }}{{ name }}{{ value }}"
        "{% endfor %}{% macro m(a) %}{{ a }}{{ caller() }}{% endmacro %}{% with y = x %}{{ y }}{% endwith %}"
        "{% call m(x) %}z{% endcall %}"
    )
    assert findings_of(write(tmp_path, a=one_rule(resourceName=text))) == []


@pytest.mark.parametrize(
    "expression",
    [
        "range(3) | map('string') | list", "labels | list | sort | first", "labels.a | replace('a', 'b', 1)",
        "labels.a | truncate(20, true, '...')", "labels.a | default('x', true)", "[labels.a, 'b'] | join('; ')",
        "labels | dictsort | map(attribute=0) | list", "labels.a | int(0) | round(1, 'floor')", "labels.a | tojson",
        "labels | items | list | length", "labels.a | title | trim | upper | urlencode", "'%s' | format(labels.a)",
        "range(9) | select('gt', 3) | sum", "labels.a | wordwrap(20) | indent(2, first=true)", "labels.a | d('x')",
        "labels.a is in ['x'] or labels.a is eq 'y' or labels.a is divisibleby(2) or labels.a is string",
        "range(9) | batch(3, 'x') | list | length", "range(9) | groupby('real') | list", "labels.a | center(9)",
        "labels.a | regex_replace('a', 'b') | regex_search('b') | clip(3) | short_hash | host | level",
        "alert.startsAt | localtime('UTC', format='%H')", "labels.a | filesizeformat if labels.a else ''",
    ],
)  # fmt: skip
def test_a_sound_expression_has_no_findings(expression: str, tmp_path: Path) -> None:
    assert findings_of(write(tmp_path, a=one_rule(resourceName=f"{{{{ {expression} }}}}"))) == []


def test_files_are_read_whatever_the_case_of_their_suffix(tmp_path: Path) -> None:
    for number, suffix in enumerate(("YML", "YAML", "Yaml", "yml")):
        (tmp_path / f"{number}.{suffix}").write_text(rules({"name": f"r{number}", "when": "lables.x", "drop": True}))
    assert [Path(finding.file).name for finding in check(tmp_path)] == ["0.YML", "1.YAML", "2.Yaml", "3.yml"]


ALIASED = """
x-alarm: &alarm {resourceName: "{{ lables.pod }}", additional: &more {team: "{{ labels.team.upper() }}"}}
x-other: [1, 2]
defaults: {alarmName: a, alarmLevel: Minor, nameSpace: n, applicationId: a, alarmDesc: d}
rules:
  - {name: pod, when: labels.pod, alarm: *alarm}
  - {name: node, when: labels.node, alarm: *alarm}
  - {name: rest, alarm: {additional: *more}}
"""


def test_keys_with_an_x_hold_anchors_and_a_place_with_many_aliases_has_one_finding(tmp_path: Path) -> None:
    found = check(write(tmp_path, a=ALIASED))
    places = [(finding.line, finding.col) for finding in found]
    assert places[0] == (2, 36)
    assert len(places) == len(set(places))
    mended = ALIASED.replace("lables", "labels").replace("labels.team.upper()", "labels.team")
    assert check(write(tmp_path, a=mended)) == ()


def test_other_unknown_keys_of_a_file_stay_findings(tmp_path: Path) -> None:
    (finding,) = check(write(tmp_path, a=ALIASED.replace("x-other", "xother").replace("lables", "labels").replace(
        "labels.team.upper()", "labels.team")))  # fmt: skip
    assert "unknown key 'xother'" in finding.message
