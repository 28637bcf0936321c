"""A character of a text is found in the YAML file, however the text is quoted there."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from adapter.yamlfile import YamlFile

WORDS = st.lists(
    st.text(alphabet="abz主机éß'\"\\{}%#:-|", min_size=1, max_size=12), min_size=1, max_size=30
)  # no word is white space only, and none looks like another escape


@given(words=WORDS, style=st.sampled_from([None, "'", '"', "|", ">"]), ascii_only=st.booleans())
def test_every_character_is_found_in_the_file(words: list[str], style: str | None, ascii_only: bool) -> None:
    """Written by PyYAML in any of its styles, wrapped at 30 columns: the place of a character shows that character."""
    text = "\n".join(" ".join(words[at : at + 5]) for at in range(0, len(words), 5))
    written = yaml.dump({"key": {"field": text}}, default_style=style, width=30, allow_unicode=not ascii_only)
    file = YamlFile("a.yaml", written.encode())
    assert file.data == {"key": {"field": text}}
    quoted = file.mark(("key", "field")).style == '"'
    at = -1
    for offset, char in enumerate(text):
        if char.isspace():
            continue
        line, col = file.position(("key", "field"), offset)
        rest = file.lines[line - 1][col - 1 :]
        escaped = quoted and rest.startswith("\\")
        assert rest.startswith(char) or escaped
        place = line * 10_000 + col
        assert place > at, "places follow one another"
        at = place


def test_an_offset_beyond_the_text_is_its_end() -> None:
    file = YamlFile("a.yaml", b"field: abc\n")
    assert file.position(("field",), 99) == (1, 11)


def test_a_continued_line_in_double_quotes_is_followed() -> None:
    file = YamlFile("a.yaml", b'field: "ab\\\n   cd"\n')
    assert file.data == {"field": "abcd"}
    assert file.position(("field",), 2) == (2, 4)


@pytest.mark.parametrize("value", [b'"\\U00110000"', b"1" * 5000, b"\x01"])
def test_a_value_that_cannot_be_read_is_a_finding(value: bytes) -> None:
    (finding,) = YamlFile("a.yaml", b"a: " + value).findings
    assert finding.message.startswith(("not YAML: ", "the number is too long"))


def test_escaped_white_space_is_followed() -> None:
    file = YamlFile("a.yaml", b'field: "a\\n\\x20b\\x41"\n')
    assert file.data == {"field": "a\n bA"}
    assert [file.position(("field",), offset) for offset in (0, 3, 4)] == [(1, 9), (1, 16), (1, 17)]


@pytest.mark.parametrize("text", ["+8613900000000", "+0", "-0", "010", "1_000", "+1.5", "1.", "0x10"])
def test_what_a_number_would_not_print_as_it_stands_stays_text(text: str) -> None:
    assert YamlFile("a.yaml", f"a: {text}\n".encode()).data == {"a": text}


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("-5", -5), ("86139", 86139), ("-1.5", -1.5), ("true", True)])
def test_other_plain_values_have_their_type(text: str, value: object) -> None:
    assert YamlFile("a.yaml", f"a: {text}\n".encode()).data == {"a": value}
