"""Reading a body in steps gives what reading it at once gives, whatever the body; and it lets the event loop go on."""

from __future__ import annotations

import json
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.errors import PayloadError
from adapter.webhookjson import read_json
from tests.flow.mutants import mutants
from tests.stage import alert, webhook

AT_ONCE = 1 << 40
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


def read(body: bytes, large: int) -> str:
    """What came of it, NaN comparable."""
    try:
        return repr(read_json(body, large))
    except PayloadError as exc:
        return f"refused: {exc}"


def same(body: bytes) -> None:
    assert read(body, 0) == read(body, AT_ONCE), body[:1000]


@given(st.dictionaries(st.text(max_size=8), values, max_size=6), st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_any_object_reads_the_same_in_steps(
    data: dict[str, object], ascii_only: bool, indent: int | str | None
) -> None:
    same(json.dumps(data, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass"))


def test_damaged_webhooks_read_the_same_in_steps() -> None:
    for body in islice(mutants(31, 4000), 4000):
        same(body)


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"{", b"{}", b" {} ", b"[]", b"[1]", b"null", b"7", b'"x"', b"{]", b'{"a"', b'{"a":', b'{"a":1',
        b'{"a":1,}', b'{"a":1}}', b'{"a":1} x', b'{1:2}', b'{"alerts":[}', b'{"alerts":[,]}', b'{"alerts":[1,]}',
        b'{"alerts":[1 2]}', b'{"alerts":[]}', b'{"alerts" : [ 1 , 2 ] , "b" : [ ] }', b'{"a":[1],"a":[2]}',
        b'{"alerts":[NaN,Infinity,-Infinity,1e999,-0,0.1]}', b'{"alerts":[' + b"9" * 5000 + b"]}",
        b'{"a":"\\ud800"}', b'{"a":["\\uDC00\\ud83d\\ude00"]}', b'\xef\xbb\xbf{"a":1}', b'{"a":"\xff"}',
        b'{"a":["\x01"]}', '{"a":1}'.encode("utf-16"), b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"a":[' + b"[" * 300 + b"]" * 300 + b"]}", b'{"a":1}\x00', b'{"a"\x0b:1}', b'{"\\u0061":["\\u003c"]}',
    ],
)  # fmt: skip
def test_odd_bodies_read_the_same_in_steps(body: bytes) -> None:
    same(body)


def test_a_whole_webhook_reads_the_same_in_steps() -> None:
    body = webhook(*(alert(f"A{number}", labels={"pod": f"p<{number}>é😀"}) for number in range(200)))
    same(body)
    same(json.dumps(json.loads(body), indent=2, ensure_ascii=False).encode())
