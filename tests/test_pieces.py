"""A text read in pieces gives what Python's parser gives, and no piece takes long."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapter.pieces import MOST_VALUES, TooDense, read_pieces

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("a"), inner),
)


@given(value=VALUES, indent=st.none() | st.integers(0, 3))
def test_any_data_is_read_as_it_was_written(value: Any, indent: int | None) -> None:
    assert read_pieces(json.dumps(value, indent=indent), "a", 1000) == value


@given(text=st.text(alphabet='{}[]:,"1a\\ .-', max_size=12))
@example('{"a":1,}')
@example('{"a":[1,]}')
@example("{1:2}")
@example('{"a" 1}')
@example('{"a":[1 2]}')
@example("{}x")
@example('{"a":1,"a":2}')
def test_any_text_is_read_or_refused_as_json_does(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(ValueError, match=r"line 1|Expecting"):
            read_pieces(text, "a", 1000)
    else:
        assert read_pieces(text, "a", 1000) == expected


def test_numbers_and_texts_are_whole_wherever_the_text_is_cut() -> None:
    numbers = {str(number): number * 1.25e-7 for number in range(MOST_VALUES // 2)}
    value = {
        "a": numbers,
        "list": [n * 1.25e-7 for n in range(3 * MOST_VALUES)],
        "b": ["a,b" * (n % 50) for n in range(999)],
    }
    assert read_pieces(json.dumps(value), "list", 3 * MOST_VALUES) == value


@pytest.mark.parametrize("value", ["0", "[]", "{}", '{"a":0}'])
def test_one_entry_or_field_of_too_many_values_is_refused_and_a_long_text_is_not(value: str) -> None:
    dense = "[" + ",".join([value] * (2 * MOST_VALUES)) + "]"
    for text in (
        f'{{"a":[{dense}]}}',
        f"[{dense}]",
        f'{{"a":{{"b":{dense}}}}}',
        f'{{"b":{dense}}}',
        f'{{"a":{dense}}}',
    ):
        with pytest.raises(TooDense):
            read_pieces(text, "a", 1000)
    assert read_pieces('{"a":["' + "x" * 5_000_000 + '"]}', "a", 1)["a"][0][0] == "x"
