"""One event, one line: nothing that was logged can look like another line, or show a secret."""

from __future__ import annotations

import io
import json
import logging
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter import logs
from adapter.logs import MAX_FIELD, RepeatFilter, event, register_secret, set_level, setup
from adapter.secret import Secret

FORMATS: tuple[Literal["logfmt", "json"], ...] = ("logfmt", "json")
logger = logging.getLogger("adapter.some.module")

# What Prometheus' own reader takes for one logfmt line: keys, bare values, and quoted values with JSON escapes.
LOGFMT = re.compile(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|[^\s"=\\]+)(?: |$)')


class Moved:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> int:
        return int(self.seconds * 1_000_000)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("adapter")
    before = (root.level, root.handlers[:], ours.level)
    yield
    root.level, root.handlers[:], ours.level = before


def written(format: Literal["logfmt", "json"], message: str = "something happened", **fields: object) -> str:
    stream = io.StringIO()
    # A lone surrogate in what pytest captures would break its report's way from worker to parent.
    logging.getLogger().handlers.clear()
    setup("debug", format, stream)
    event(logger, logging.INFO, message, **fields)
    return stream.getvalue()


def read_logfmt(line: str) -> dict[str, Any]:
    assert line.endswith("\n")
    pairs, end = {}, 0
    for match in LOGFMT.finditer(line):
        assert match.start() == end, f"not logfmt at {line[end:]!r}"
        end = match.end()
        value = match[2]
        pairs[match[1]] = json.loads(value) if value.startswith('"') else value
    assert end == len(line) - 1
    return pairs


def test_a_line_has_time_level_component_message_and_the_fields_in_their_order() -> None:
    line = written("logfmt", "report delivered", alarm="abc", attempt=3, seconds=0.5, last=True, why=None)
    ts, rest = line.split(" ", 1)
    assert re.fullmatch(r"ts=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", ts)
    assert rest == (
        'level=info component=some.module msg="report delivered" alarm=abc attempt=3 seconds=0.5 last=true why=null\n'
    )


def test_json_keeps_types() -> None:
    read = json.loads(written("json", "report delivered", alarm="abc", attempt=3, seconds=0.5, last=True, why=None))
    del read["ts"]
    assert read == {
        "level": "info", "component": "some.module", "msg": "report delivered",
        "alarm": "abc", "attempt": 3, "seconds": 0.5, "last": True, "why": None,
    }  # fmt: skip


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "hostile",
    [
        "x\nts=2026-01-01T00:00:00.000Z level=error msg=forged",
        "x\r\nforged", "x\u2028forged\u2029", "x\x0bforged\x0c\x1c\x1d\x1e\x85",
        "\x1b[2K\x1b[1Aforged", "\x9b31m", "\u202egnp.exe", "\u2066x\u2069", "\u200bhidden\ufeff", "\x00", "\x7f",
        'x" level=error msg="forged', "x\\", "a=b", "\ud800", "\U000e0041",
    ],
)  # fmt: skip
def test_no_value_and_no_message_can_forge_a_line(hostile: str, format: Literal["logfmt", "json"]) -> None:
    line = written(format, hostile, field=hostile)
    assert line.count("\n") == 1
    assert line[:-1].isprintable()
    read = json.loads(line) if format == "json" else read_logfmt(line)
    assert list(read) == ["ts", "level", "component", "msg", "field"]
    assert (read["msg"], read["field"], read["level"]) == (hostile, hostile, "info")


@given(message=st.text(max_size=600), value=st.text(max_size=600))
def test_any_text_is_one_printable_line_that_reads_back(message: str, value: str) -> None:
    for format in FORMATS:
        line = written(format, message, field=value)
        assert line.count("\n") == 1
        assert line[:-1].isprintable()
        read = json.loads(line) if format == "json" else read_logfmt(line)
        if len(value) <= MAX_FIELD:
            assert read["field"] == value


@pytest.mark.parametrize("format", FORMATS)
def test_long_values_are_clipped(format: Literal["logfmt", "json"]) -> None:
    line = written(format, "m" * 10_000, field="x" * 10_000, number=10**9999)
    assert len(line) < 1300
    assert "x" * (MAX_FIELD - 1) + "…" in line
    assert "m" * (MAX_FIELD - 1) + "…" in line


@pytest.mark.parametrize("format", FORMATS)
def test_odd_values_are_still_one_line(format: Literal["logfmt", "json"]) -> None:
    line = written(format, a=math.nan, b=math.inf, c=b"\xff\n", d=ValueError("bad\nthing"), e={"k": "v"}, f="")
    read = json.loads(line) if format == "json" else read_logfmt(line)
    assert (read["a"], read["b"], read["c"]) == ("nan", "inf", "\\xff\n")
    assert (read["d"], read["e"], read["f"]) == ("ValueError: bad\nthing", "{'k': 'v'}", "")


def test_a_field_cannot_take_the_place_of_the_level() -> None:
    read = json.loads(written("json", level="error", msg="forged", ts="never"))
    assert (read["level"], read["level_"], read["msg_"], read["ts_"]) == ("info", "error", "forged", "never")


@pytest.mark.parametrize("format", FORMATS)
def test_a_traceback_is_one_field_of_one_line(format: Literal["logfmt", "json"]) -> None:
    stream = io.StringIO()
    setup("info", format, stream)
    try:
        raise RuntimeError("first\nsecond")
    except RuntimeError:
        logger.exception("went wrong in %s", "here")
    assert stream.getvalue().count("\n") == 1
    assert "RuntimeError" in stream.getvalue()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("secret", ["integration-key-0815", "sl/ash+&?", 'quo"te\\', "ünïcode ☃", "two\nlines"])
def test_a_registered_secret_shows_in_no_line_however_it_is_written(
    secret: str, format: Literal["logfmt", "json"]
) -> None:
    held = Secret(value=secret)
    register_secret(held)
    line = written(
        format,
        f"posting to /custom/{secret}",
        url=f"https://coc/{quote(secret, safe='')}?x",
        error=ValueError(f"no route to {secret!r}"),
        clipped="x" * (MAX_FIELD - 5) + secret,
        json=json.dumps({"key": secret}),
    )
    for form in {secret, quote(secret, safe=""), json.dumps(secret)[1:-1], repr(secret)[1:-1], secret[:5]}:
        assert form not in line
        assert json.dumps(form)[1:-1] not in line
    assert line.count("<secret>") >= 4


def test_a_rotated_secret_is_hidden_before_and_after(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("old-value-1")
    held = Secret(path=path)
    register_secret(held)
    path.write_text("new-value-2")
    held.refresh()
    line = written("logfmt", "old-value-1 new-value-2")
    assert 'msg="<secret> <secret>"' in line


def test_a_secret_that_contains_another_goes_as_a_whole() -> None:
    short, long = Secret(value="prefix-x"), Secret(value="prefix-x-and-more")
    register_secret(short)
    register_secret(long)
    assert "msg=<secret>\n" in written("logfmt", "prefix-x-and-more")


def test_a_secret_object_prints_as_secret_even_unregistered() -> None:
    assert "key=<secret>" in written("logfmt", key=Secret(value="unregistered-one"))


def test_levels_are_prometheus_words_and_change_while_running() -> None:
    stream = io.StringIO()
    setup("warn", "logfmt", stream)
    event(logger, logging.INFO, "not logged")
    set_level("debug")
    event(logger, logging.DEBUG, "logged")
    logging.getLogger("elsewhere").info("other packages log from warn up")
    logging.getLogger("elsewhere").warning("like this")
    assert [read_logfmt(line + "\n")["msg"] for line in stream.getvalue().splitlines()] == ["logged", "like this"]
    with pytest.raises(ValueError, match="known: debug, info, warn, error"):
        set_level("loud")


def test_a_second_setup_replaces_the_first() -> None:
    first, second = io.StringIO(), io.StringIO()
    setup("info", "logfmt", first)
    setup("info", "json", second)
    event(logger, logging.INFO, "once")
    assert (first.getvalue(), second.getvalue().count("\n")) == ("", 1)


def test_an_event_below_the_level_renders_nothing() -> None:
    class Costly:
        def __str__(self) -> str:
            raise AssertionError("rendered")

    setup("info", "logfmt", io.StringIO())
    event(logger, logging.DEBUG, "not logged", value=Costly())


def test_the_first_failure_is_logged_and_repetition_only_now_and_then() -> None:
    clock = Moved()
    repeats = RepeatFilter(clock, every=60)
    assert [repeats.failed("coc") for _ in range(4)] == [0, None, None, None]
    clock.seconds += 61
    assert repeats.failed("coc") == 3
    assert repeats.failed("coc") is None
    assert repeats.failed("other") == 0


def test_a_bug_is_logged_with_its_traceback_once_in_a_while_for_each_line_that_raises_it() -> None:
    clock, stream = Moved(), io.StringIO()
    repeats = RepeatFilter(clock, every=60)
    logging.getLogger().handlers.clear()
    setup("info", "json", stream)

    def meet(bad: str) -> None:
        try:
            int(bad)
            _ = bad[5]
        except (ValueError, IndexError) as exc:
            repeats.bug(logger, "it failed (a bug in the adapter)", exc)

    for bad in ("x", "y", "1", "z", "2"):
        meet(bad)
    clock.seconds += 61
    meet("x")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["silent"], line["traceback"].splitlines()[-1].partition(":")[0]) for line in lines] == [
        (0, "ValueError"), (0, "IndexError"), (2, "ValueError"),
    ]  # fmt: skip


def test_the_key_that_failed_longest_ago_is_forgotten_first() -> None:
    repeats = RepeatFilter(Moved(), keys=2)
    assert [repeats.failed(key) for key in "aba"] == [0, 0, None]
    assert repeats.failed("c") == 0
    assert (repeats.failed("a"), repeats.failed("b")) == (None, 0)


def test_short_secrets_do_not_garble_the_lines() -> None:
    register_secret(Secret(value="e"))
    assert "something happened" in written("logfmt")
    assert logs.LEVELS.keys() == {"debug", "info", "warn", "error"}
