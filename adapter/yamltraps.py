"""Says in plain words why a text is not the YAML that was meant: quotes, colons, white space, encodings (pure).

No message holds more of the text than one character, because files with secrets are read too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple


class Trap(NamedTuple):
    """Line and column count from 1."""

    line: int
    col: int
    message: str
    hint: str


PUNCTUATION: Final[Mapping[str, str]] = dict(
    zip("：，；、。．（）【】［］｛｝“”‘’＂＇「」！＝＞＜｜＆％＿－—–＋＊／？～＄＃",
        ":,;,..()[][]{}\"\"''\"'\"\"!=><|&%_---+*/?~$#", strict=True)
)  # fmt: skip
"""Punctuation of a Chinese keyboard or a word processor -> what to type."""
INVISIBLE: Final[Mapping[str, str]] = {
    "\u00a0": "no-break space", "\u202f": "narrow no-break space", "\u3000": "ideographic space",
    "\u200b": "zero-width space", "\u200c": "zero-width non-joiner", "\u200d": "zero-width joiner",
    "\u2060": "word joiner", "\ufeff": "byte order mark",
}  # fmt: skip
LONGEST: Final = 2000  # characters of a line in which a trap is looked for
QUOTES: Final = "“”‘’＂＇「」"

_UNSEEN: Final = re.compile(f"[{''.join(INVISIBLE)}]")
_KEY: Final = re.compile(rf"[{QUOTES}]?[\w.-]{{1,100}}[{QUOTES}]?\s?(：)")
_GLUED: Final = re.compile(r" *(?:- +)?[\w.-]{1,100}(:)(?=[\"'{\[\w])")
_BARE_TEMPLATE: Final = re.compile(r"(?:: +|- +|[{,] *)(\{[{%])")
_BETWEEN_QUOTES: Final = re.compile(r"\"(?:\\.|[^\"\\])*\"|'[^']*'")
_ESCAPE: Final = re.compile(r"found unknown escape character '(.)'")
_WORDS: Final = re.compile(r"[\w .-]*")
_CHINESE: Final = re.compile("[\u4e00-\u9fff]")
_LONE_KEY: Final = re.compile(r" *(?:- +)?[\w.-]{1,100}")
_SAME: Final = "use the same number of spaces"
_NO_START: Final = re.compile(r"found character '(\\t|.)' that cannot start any token")


def _line(lines: Sequence[str], line: int) -> str:
    """Empty for a line that no person has typed."""
    text = lines[line - 1] if 0 < line <= len(lines) else ""
    return text if len(text) <= LONGEST else ""


def at(lines: Sequence[str], line: int, col: int) -> Trap | None:
    """What was typed where something is wrong: a character that looks like another one, or none at all."""
    text = _line(lines, line)
    blanked = _BETWEEN_QUOTES.sub(lambda found: "x" * len(found[0]), text)
    unseen = _UNSEEN.search(blanked)
    if unseen:
        char = unseen[0]
        message = f"{INVISIBLE[char]} (U+{ord(char):04X}), which is no blank to YAML"
        return Trap(line, unseen.start() + 1, message, "type an ordinary space")
    start = max(0, col - 1)
    key = _KEY.match(text, start) or _KEY.match(text, len(text) - len(text.lstrip(" -")))
    if key:
        return Trap(line, key.start(1) + 1, "'：' is not a colon to YAML", "type ':' and a space")
    if text[start : start + 1] in tuple(QUOTES):
        return Trap(line, start + 1, f"{text[start]!r} is not a quote to YAML", f"type {PUNCTUATION[text[start]]}")
    glued = _GLUED.match(text)
    if glued and start <= len(text) - len(text.lstrip(" -")):
        return Trap(line, glued.start(1) + 1, "no space after ':'", "type ': '")
    if "{" in blanked or "[" in blanked:
        for number, char in enumerate(blanked):
            if char in "：，｛｝【】［］" + QUOTES:
                return Trap(line, number + 1, f"{char!r} is not punctuation of YAML", f"type {PUNCTUATION[char]}")
    return None


def behind(lines: Sequence[str], line: int, col: int, problem: str) -> Trap | None:
    """What is behind a problem that PyYAML has found."""
    text = _line(lines, line)
    if found := _ESCAPE.search(problem):
        char = found[1]
        hint = f"write \\\\\\\\{char}; in single quotes \\\\{char}"
        return Trap(line, max(1, col - 1), f"\\{char} in double quotes is an escape that YAML does not know", hint)
    if found := _NO_START.search(problem):
        if found[1] == "\\t":
            return Trap(line, col, "a tab", "indent with spaces")
        return Trap(line, col, f"a value that begins with {found[1]} needs quotes", "put the whole value in quotes")
    before = _line(lines, line - 1)
    for number, source in ((line, text), (line - 1, before)):
        bare = _BARE_TEMPLATE.search(source)
        if bare:
            return Trap(number, bare.start(1) + 1, "a template needs quotes around it", "put the whole value in quotes")
    near = at(lines, line, col) or (at(lines, line - 1, 1) if before else None)
    return near or _quotes(line, col, text, problem) or _indentation(line, col, text, problem)


def _quotes(line: int, col: int, text: str, problem: str) -> Trap | None:
    head = text[: max(0, col - 1)].rstrip()
    if not ("found '" in problem or "got '" in problem) or not head.endswith(('"', "'")):
        return None
    quote, other = head[-1], "'" if head[-1] == '"' else '"'
    inside = head[:-1].rpartition(quote)[2]
    names = {'"': "double", "'": "single"}
    if _WORDS.fullmatch(inside):
        hint = f"put the whole value in {names[other]} quotes"
        return Trap(line, len(head), f"a value that begins with {quote} ends at the next {quote}", hint)
    message = f"a {names[quote]} quote inside {names[quote]} quotes ends the text"
    return Trap(line, len(head), message, f"inside write {names[other]} quotes")


def _indentation(line: int, col: int, text: str, problem: str) -> Trap | None:
    if "mapping values are not allowed" in problem and _LONE_KEY.fullmatch(text[: max(0, col - 1)]):
        return Trap(
            line, len(text) - len(text.lstrip(" ")) + 1, "this line is indented more than those before it", _SAME
        )
    if "mapping values are not allowed" in problem:
        return Trap(line, col, "a second ': ' in one value", "put the whole value in quotes")
    if problem.startswith(("expected <block end>, but found '<block", "expected <block end>, but found '-'")):
        return Trap(line, col, "this line is indented differently from those above it", _SAME)
    if "found undefined alias" in problem:
        return Trap(line, col, "a value that begins with * is an alias", "put the whole value in quotes")
    if "found another document" in problem:
        return Trap(line, col, "a second document begins here", "one document a file: take the line --- out")
    return None


def encoding(written: bytes, wrong: int | None) -> tuple[str, str]:
    """The message and hint for bytes that are not UTF-8, or not text; `wrong`: the first byte that is not."""
    if written[:2] in (b"\xff\xfe", b"\xfe\xff") or written[:400].count(0) * 4 > len(written[:400]):
        return "not UTF-8: the file is UTF-16", "save it as UTF-8"
    if wrong is None:
        return "", ""
    message = f"not UTF-8: byte {wrong} is not part of a character"
    try:
        chinese = _CHINESE.search(written.decode("gb18030"))
    except UnicodeDecodeError:
        chinese = None
    return message, "it looks like GBK: save it as UTF-8" if chinese else "save it as UTF-8"


def place(written: bytes, wrong: int) -> tuple[int, int]:
    """Line and column of a byte."""
    start = written.rfind(b"\n", 0, wrong) + 1
    return written.count(b"\n", 0, wrong) + 1, len(written[start:wrong].decode(errors="replace")) + 1
