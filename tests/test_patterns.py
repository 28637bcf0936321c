"""Every regular expression of ours takes time in proportion to the text of others that it meets.

FED names each of them and feeds it, through what others call, worst cases of up to 1 MiB. What is measured is CPU time
of this thread, and how it grows from one size to the next: four times the text may take ten times as long, not sixteen.
"""

from __future__ import annotations

import ast
import io
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

import pytest
from multidict import CIMultiDict

from adapter import config, logs
from adapter.alertmanager import micros, parse_webhook
from adapter.cli.printable import Printable
from adapter.coc.fields import clean_name, tidy
from adapter.coc.verdict import judge, read_answer
from adapter.config import load_config
from adapter.console import shown
from adapter.errors import ConfigError, one_line
from adapter.mapping.rules.files import MAX_RULES
from adapter.mapping.rules.filters import FILTERS
from adapter.mapping.rules.lint import lint
from adapter.mapping.rules.schema import MAX_TEMPLATE, read_file
from adapter.matchers import MatcherError, parse_matchers
from adapter.pieces import read_pieces
from adapter.reconcile.cluster import quoted, unquoted
from adapter.reconcile.member import filters
from adapter.sandbox.contract import violations
from adapter.sandbox.faults import read_faults
from adapter.secret import Redactor
from adapter.server.encoding import charset_of
from adapter.server.webconfig import load_web_config
from adapter.store.sqlite.disk import filesystem
from adapter.yamlfile import YamlFile
from tests.test_architecture import modules

SIZES = tuple(4**power for power in range(4, 11))  # 256 bytes to 1 MiB
MOST = 10.0  # times as long for four times the text: memory and its collection cost a little more than in proportion
FLOOR = 0.005  # seconds of CPU below which nothing can be told from noise
NOW = datetime(2026, 11, 30, tzinfo=UTC)
REDACT = Redactor(["0123456789abcdef", "secret/key+1", "AKAKAKAKAK"], "<secret>")

LOG_FORMATS: tuple[Literal["logfmt", "json"], ...] = ("logfmt", "json")

Feed = Callable[[str], object]


class Case(NamedTuple):
    feed: Feed
    worst: Callable[[int], str]  # a text of about so many bytes


def times(piece: str, before: str = "", after: str = "") -> Callable[[int], str]:
    return lambda size: before + piece * max(1, size // len(piece)) + after


def answered(text: str) -> None:
    for status in (200, 401, 500):
        judge(status, CIMultiDict(), text.encode(), NOW, redact=REDACT)


def answered_message(text: str) -> None:
    answered(json.dumps({"error_code": text, "error_msg": text}))


def logged(text: str) -> None:
    logging.getLogger().handlers.clear()  # a report of pytest-xdist cannot hold the half characters that are logged
    for style in LOG_FORMATS:
        stream = io.StringIO()
        logs.setup("info", style, stream)
        logs.event(logging.getLogger("adapter.x"), logging.INFO, text, value=text, failed=ValueError(text))
        assert len(stream.getvalue()) < 20_000


def matched(text: str) -> None:
    parse_matchers([text])


def read_yaml(text: str) -> None:
    file = YamlFile("x.yaml", text.encode(), secret=True)
    if isinstance(file.data, dict) and isinstance(file.data.get("a"), str) and file.data["a"]:
        for offset in (0, len(file.data["a"]) - 1):
            file.finding(("a",), "x", offset=offset)


def read_mapping(text: str) -> None:
    """Templates of the longest size, until the text is used up; its start also where a name or a level stands."""
    parts = [text[at : at + MAX_TEMPLATE - 1] for at in range(0, len(text), MAX_TEMPLATE - 1)]
    rules = [{"name": f"r{number}", "alarm": {"alarmName": part, "alarmLevel": part, "additional": {part: part}}}
             for number, part in enumerate(parts)]  # fmt: skip
    rules += [{"name": f"w{number}", "when": part, "drop": True} for number, part in enumerate(parts)]
    lint([read_file(YamlFile("x.yaml", json.dumps({"rules": rules}).encode()), "x.yaml", MAX_RULES)[0]])


def read_raw_mapping(text: str) -> None:
    """As the file itself, and in lines of a length that a person may have typed."""
    for written in (text, "\n".join(text[at : at + 1900] for at in range(0, len(text), 1900)), f"rules: [{text}]"):
        for encoding in ("utf-8", "gb18030"):
            read_file(YamlFile("x.yaml", written.encode(encoding)), "x.yaml", MAX_RULES)


def faults(text: str) -> None:
    read_faults({"retry_after": text})


def body_at_coc(text: str) -> None:
    violations({"alarmId": text, "alarmName": text})


@pytest.fixture
def own_folder_and_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    root, ours = logging.getLogger(), logging.getLogger("adapter")
    before = (root.level, root.handlers[:], ours.level)
    root.handlers.clear()
    yield
    root.level, root.handlers[:], ours.level = before


def client_authorities(text: str) -> None:
    for name in ("cert", "key", "ca"):
        Path(name).write_text(text)
    Path("web.yml").write_text("tls_server_config: {cert_file: cert, key_file: key, client_ca_file: ca}\n")
    load_web_config(Path("web.yml"))


def read_config(text: str) -> None:
    Path("adapter.yml").write_text(text)
    load_config(Path("adapter.yml"))


def user(text: str) -> None:
    Path("web.yml").write_text(json.dumps({"basic_auth_users": {"a": text}}))
    load_web_config(Path("web.yml"))


def mounts(text: str) -> None:
    Path("mounts").write_text(f"1 1 1:1 / {text} rw - ext4 x rw\n")
    filesystem(Path("/"), Path("mounts"))


JSON_ESCAPES = times("\\ud800", '{"x":"\xff', '","alerts":[]}')
TEXTS = (
    times("k"),
    times("\x00"),
    times(" "),
    times("\ud800"),
    times("Basic "),
    times("Bearer" + " " * 90),
    times("A"),
)
HTML = (times("<"), times("<script>"), times("<script "), times(" ", "<script></script"), times("</script"),
        times("<style></script "), times("<script><style>"), times("a<b"), times("<!--"))  # fmt: skip
CERTIFICATES = (times("-----BEGIN CERTIFICATE-----\n"), times("-----END CERTIFICATE-----\n"), times("-"))
YAML = (times("1", "a: "), times("1", "a: ", "."), times("token ", "a: '", "'"), times("\\ud800", 'a: "', '"'),
        times("\\x20", 'a: "', 'x"'), times("'", "a: '", "'"), times(" ", "a:", "x"), times("x ", "a: "))  # fmt: skip
HABITS = {
    "habits:_ABSENT": times("$value .Value", "{{ printf "),
    "habits:_ANYWHERE": times("a ? b :", "{{ "),
    "golang:ARGUMENT": times('("', "{{ printf "),
    "golang:BAR": times('|"', "{{ .Labels"),
    "habits:_BLOCK": times("else if ", "{% else if "),
    "habits:_BRACES": times("{{ {% "),
    "habits:_DASHED": times("labels.a-", "{{ "),
    "golang:_FIELD": times(".Labels", "{{ if eq "),
    "golang:_FORMAT": times('a.Format "', "{{ if "),
    "habits:_IF": times("if "),
    "golang:INDEX": times("index .Labels ", "{{ "),
    "habits:_LEAD": times("(|-", "{{ "),
    "habits:_PRINT": times("$a:=", "{{ "),
    "habits:_QUOTED": times('.StartsAt.Format "', "{{ "),
    "habits:_SPACED_DOT": times("x .A", "{{ "),
}
"""Pattern -> the text in a template that it takes longest for."""
STRANGE = (times("${a"), times("{ "), times("{" + " " * 50), times("%(a"), times("{labels.a"), times("｛｛a"))
LITERALS = (times("\\1", "{{ '", "' }}"), times("'\\1' ", "{{ ", " }}"), times("\b", "{{ '", "' }}"))
SEARCHES = (times("a,", "labels.a in '", "'"), times("labels.a in ' ' or "))
TRAPS = {
    "_BARE_TEMPLATE": times("a: {% "),
    "_BETWEEN_QUOTES": times('\\"'),
    "_CHINESE": times("告"),
    "_ESCAPE": times("\\d", 'a: "', '"'),
    "_GLUED": times("a:"),
    "_KEY": times("a："),
    "_LONE_KEY": times("a", "b: c\n  ", ": d"),
    "_NO_START": times("@", "a: "),
    "_UNSEEN": times("\u3000a: "),
    "_WORDS": times("a ", '"', '" a'),
}
"""Pattern -> the file that it takes longest for."""
TEMPLATES = (times(" "), times("}}"), times("%}"), times("{{ at 1 "), times("labels"), times("{{ a }}"), times("\t."))

FED: dict[str, tuple[Case, ...]] = {
    "alertmanager:_EPOCH_DIGITS": tuple(Case(micros, times(piece)) for piece in ("1", "170124120")),
    "alertmanager:_ODD_TIME": tuple(
        Case(micros, times(*worst))
        for worst in ((" ",), ("0", "2023-11-29 07:00:00."), (" UTC", "2023-11-29 07:00:00"))
    ),
    "alertmanager:_SURROGATES": (Case(lambda text: parse_webhook(text.encode("latin-1")), JSON_ESCAPES),),
    "application:_ID": tuple(Case(FILTERS["application"], worst) for worst in (times("a"), times(" "), times("a/ "))),
    "cli/printable:_CONTROLS": tuple(Case(Printable(io.StringIO()).write, worst) for worst in TEXTS),
    "console/shown:_CONTROLS": tuple(Case(shown.visible, worst) for worst in TEXTS),
    "console/shown:is_link": tuple(Case(shown.is_link, worst) for worst in (*TEXTS, times("a", "http://"))),
    "coc/fields:_CONTROLS": tuple(Case(lambda text: tidy(text, lines=True), worst) for worst in TEXTS),
    "coc/fields:_BREAKS": (Case(lambda text: tidy(text, lines=False), times("\t\n", "a", "a")),),
    "coc/fields:_SURROGATES": (Case(lambda text: tidy(text, lines=False), times("\ud800")),),
    "coc/fields:_NOT_IN_NAMES": tuple(Case(clean_name, worst) for worst in (*TEXTS, times("Д"))),
    "coc/fields:clean_name": (Case(clean_name, times("_", "Д")),),
    "coc/verdict:SUCCESS": tuple(Case(answered_message, times(piece)) for piece in ("A", "0", "COC.")),
    "coc/verdict:_CODES": tuple(
        Case(answered_message, times("0", code)) for code in ("COC.", "common.010100", "APIG.")
    ),
    "coc/verdict:_ABOUT_TIME": (Case(answered_message, times("signature has timestam clockx-sdk-dat ")),),
    "coc/verdict:_HIDES": tuple(Case(answered, worst) for worst in HTML[:4]),
    "coc/verdict:_SHOWS": tuple(Case(answered, worst) for worst in HTML[4:]),
    "config/__init__:_MEMORY": tuple(
        Case(read_config, worst) for worst in (times(" ", "store:"), times(" ", "store: memory:"))
    ),
    "units:_DURATION": tuple(Case(config.seconds, times(piece)) for piece in ("1", "1m", "m1")),
    "units:_SIZE": (Case(config.size, times("1")), Case(config.size, times(" ", "1", "x"))),
    "errors:_NOT_PRINTED": tuple(Case(lambda text: one_line(text, len(text)), worst) for worst in TEXTS),
    "logs:_PLAIN": tuple(Case(logged, worst) for worst in TEXTS),
    "matchers:_NAME": tuple(Case(matched, worst) for worst in (times("a"), times('"'), times('\\"', '"'))),
    "matchers:_OPERATOR": tuple(Case(matched, times(piece, "a=b ", "=")) for piece in (" ", "c ", "c")),
    "matchers:_VALUE": tuple(Case(matched, worst) for worst in (times(" ", "a=b", "="), times("\\", 'a="'))),
    "matchers:_ESCAPE": (Case(matched, times("\\a", 'a="', '"')),),
    "mapping/rules/filters:host": tuple(Case(FILTERS["host"], times(piece, "x://")) for piece in (":", "@", "?")),
    **{f"mapping/template/{name}": (Case(read_mapping, worst),) for name, worst in HABITS.items()},
    "mapping/template/conditions:_WORDS": tuple(Case(read_mapping, worst) for worst in SEARCHES),
    "mapping/template/syntax:_AT": tuple(Case(read_mapping, worst) for worst in TEMPLATES),
    "mapping/template/texts:_LITERAL": tuple(Case(read_mapping, worst) for worst in LITERALS[:2]),
    "mapping/template/texts:_PIECE": (Case(read_mapping, LITERALS[2]),),
    "mapping/template/texts:_STRANGE": tuple(Case(read_mapping, worst) for worst in STRANGE),
    "mapping/template/texts:_ROOT": (Case(read_mapping, times("${a.", "", "}")),),
    "mapping/rules/lint:_BARE": tuple(Case(read_mapping, worst) for worst in TEMPLATES[:1]),
    "mapping/rules/lint:_STRAY": tuple(Case(read_mapping, worst) for worst in TEMPLATES[1:3]),
    "mapping/rules/schema:_EXTRA_NAME": (Case(read_mapping, times("x")),),
    "sandbox/contract:_ID": (Case(body_at_coc, times("a", "", "-")),),
    "sandbox/contract:_NAME": (Case(body_at_coc, times("々", "", "!")),),
    "sandbox/faults:Fault": (Case(faults, times(" ", "", "\x00")),),
    "secret:_ECHOED": tuple(
        Case(REDACT, worst) for worst in (*TEXTS, times("Signature=", "", "0" * 16), times("Basic"))
    ),
    "pieces:_SPACE": tuple(
        Case(lambda text: read_pieces(text, "a", 1), times(" \n", *ends)) for ends in (('{"a":[', "]}"), ("{", "x"))
    ),
    "reconcile/cluster:unquoted": (Case(unquoted, times("\\")), Case(unquoted, times("\\."))),
    "reconcile/cluster:quoted": (Case(quoted, times(".")), Case(quoted, times("a"))),
    "reconcile/member:_CLASSIC": (Case(lambda text: filters({text: "x"}), times("a", "", "-")),),
    "secret:Redactor": tuple(Case(REDACT, times(piece)) for piece in ("0123456789abcde", "secret/key+", "AK")),
    "server/webconfig:_BCRYPT": (Case(user, times("$2a$04$")),),
    "server/encoding:_CHARSET": tuple(
        Case(charset_of, worst) for worst in (times(" ", "charset", "x"), times("charset="), times("' ", "charset="))
    ),
    "store/sqlite/disk:filesystem": (Case(mounts, times("\\")), Case(mounts, times("\\040"))),
    **{f"yamltraps:{name}": (Case(read_raw_mapping, worst),) for name, worst in TRAPS.items()},
    "yamlfile:_SURROGATES": (Case(read_yaml, YAML[3]),),
    "yamlfile:For": tuple(Case(read_yaml, worst) for worst in YAML[:2]),
    "yamlfile:_QUOTED": (Case(read_yaml, times("a'", "a: *")), Case(read_yaml, times("a!", "a: !", "!b x"))),
    "yamlfile:_WORD": (Case(read_yaml, times("a", "{? ", "1 : b}")), Case(read_yaml, times("a-", "{? ", ". : b}"))),
    "yamlfile:_CHARACTERS": tuple(Case(read_yaml, worst) for worst in YAML[3:6]),
    "yamlfile:_CHARACTER": tuple(Case(read_yaml, worst) for worst in YAML[6:]),
}
"""Module and name of what holds a pattern -> what to feed it."""

NOT_FED = {
    "admin/openapi:_described": "reads the paths of our own operations",
    "coc/fields:_LETTER": "reads the Unicode name of a character",
    "coc/fields:_VOWEL_OF_NAME": "reads the Unicode name of a letter",
    "config/model:_NAME": "at most 64 characters, of adapter.yml",
    "mapping/rules/filters:regex_replace": "the mapping's own pattern, in the worker process under its deadline",
    "mapping/rules/filters:regex_search": "the mapping's own pattern, in the worker process under its deadline",
    "mapping/template/check:_value_problem": "compiles the mapping's own pattern and matches nothing",
    "console/language:_MESSAGE": "reads our own templates",
    "console/modules:_EXPORT": "reads our own scripts",
    "console/modules:_IMPORT": "reads our own scripts",
    "mapping/tools/reference:_MARKUP": "reads our own docstrings",
    "mapping/tools/reference:_NEXT_SENTENCE": "reads our own docstrings",
    "store/tables:_TABLES": "reads our own statements",
    "store/postgres/migrations:_version": "a number that this program wrote",
    "matchers:_pattern": "an operator's own pattern, by an engine that takes linear time",
    "store/postgres/migrations:_check_server": "the name of an encoding, from the server",
    "validation:_problems": "reads the words of our own models",
}
"""Patterns that meet no text of others, with the reason."""


def patterns() -> Iterator[str]:
    """Every use of `re` in the package, and every pattern of a pydantic model, by what holds it."""
    for module, path in modules():
        for statement in ast.parse(path.read_text()).body:
            for node in ast.walk(statement):
                if isinstance(node, ast.Call) and (
                    _is_of_re(node.func) or any(k.arg == "pattern" for k in node.keywords)
                ):
                    yield f"{module}:{_name(statement)}"


def _is_of_re(function: ast.expr) -> bool:
    return isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "re" \
        and function.attr not in ("escape",)  # fmt: skip


def _name(statement: ast.stmt) -> str:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return name
    return type(statement).__name__


def test_every_pattern_of_the_package_is_listed() -> None:
    assert set(patterns()) == FED.keys() | NOT_FED.keys()


@pytest.mark.usefixtures("own_folder_and_log")
@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=f"{name} {number}") for name, cases in FED.items() for number, case in enumerate(cases)],
)
def test_time_grows_in_proportion_to_the_text(case: Case) -> None:
    before = FLOOR
    for size in SIZES:
        took = cpu_seconds(case.feed, case.worst(size), within=MOST * before)
        assert took < MOST * before, f"{took:.3f} s for {size} characters, {before:.3f} s for a quarter of them"
        before = max(took, FLOOR)


def cpu_seconds(feed: Feed, text: str, within: float) -> float:
    """The least of up to five times, so that what else this machine does is left out; the first within the bound."""
    least = float("inf")
    for _ in range(5):
        started = time.thread_time()
        with suppress(MatcherError, ConfigError, ValueError):
            feed(text)
        least = min(least, time.thread_time() - started)
        if least < within or least > 2.0:
            break
    return least


def test_a_page_of_coc_is_read_without_its_tags_scripts_and_styles() -> None:
    def message(page: str) -> str:
        return read_answer(page.encode(), lambda text: text.replace("se<b>cret", "?")).message

    assert message("<html><STYLE a='b'>p {x}</sTyLe\n>Log <b>in</b></html>") == "Log in"
    assert message("a<script>1 < 2; '</style>'</script >b<styles>c<style>d") == "a b c d"
    assert message("1 < 2 and no more") == "1 < 2 and no more"
    assert message("a <b <c> d") == "a d"
