"""No text is too odd for the check: it says something or nothing, at a place within the text."""

# ruff: noqa: E501 - the pieces stand in rows

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapter.mapping.rules.schema import read_file
from adapter.mapping.template.check import Template
from adapter.yamlfile import YamlFile
from tests.mapping.mistakes import SECTIONS

WRITTEN = [mistake.written.partition(":")[2].strip() for section in SECTIONS for mistake in section.mistakes]
PIECES = [
    "{{", "}}", "{%", "%}", "{{-", "-%}", " ", "|", "||", "&&", "$", ".", ":=", "=~", "?", ":", "(", ")", "[", "]", "{", "}",
    '"', "'", "\\1", "\\", "“", "：", "\u00a0", "\u200b", "labels", ".Labels", "labels.a", "labels.a-b", "labels['a']", "alert",
    "lookup.t", "lookup.t[labels.a]", "group.commonLabels", "namespace", "range", "if", "else if", "elif", "end", "endif",
    "index", "printf", "default", "eq", "and", "or", "not", "in", "not in", "==", "!=", "1", "'x'", '"y"', "['a']", "('b')",
    ".upper", ".split('-')", ".StartsAt.Format", "| upper", "| toUpper", "| attr('x')", "set x =", "x", "~", "-", "/", ",",
    "is in", "is defined", "none", "true", "${labels.a}", "%(a)s", "0" * 20, "\n", "\x08", "\ud800",
]  # fmt: skip
TABLES: dict[str, Any] = {"t": {"a": "x", "b": ["y"], "c": {"d": "{{ e }}"}}}


@pytest.mark.parametrize("expression", [False, True], ids=["field", "condition"])
@given(source=st.one_of(st.lists(st.sampled_from(PIECES + WRITTEN), max_size=12).map("".join), st.text(max_size=80)))
@example(source="{{ .")
@example(source="$")
def test_any_template_is_checked(source: str, expression: bool) -> None:
    for style in (None, '"', "'", "|"):
        for mistake in Template(source, TABLES, style, expression=expression).mistakes:
            assert 0 <= mistake.offset <= len(source)
            assert mistake.message


@given(
    st.lists(
        st.sampled_from(
            ["rules:", "\n", "  ", "- ", "name: a", "when: ", "alarm: ", "{", "}", "[", "]", "“", "：", "\u00a0", "\t", "%", "@",
             "&a", "*a", "!x", '"', "'", "\\d", "{{ labels.a }}", "resourceName", ": ", "x", "---", "kind: ConfigMap",
             "apiVersion: v1", "lookup: {a: {b: c}}"]
        ),
        max_size=20,
    ).map("".join)
)  # fmt: skip
def test_any_file_is_read(text: str) -> None:
    for encoding in ("utf-8", "gb18030", "utf-16"):
        _, findings = read_file(YamlFile("a.yaml", text.encode(encoding)), "a.yaml", 10**6)
        assert all(finding.message for finding in findings)
