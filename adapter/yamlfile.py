"""Reads YAML files that people edit: text -> plain data that remembers the position of every key and value.

It reports duplicate keys, tags, merge keys and a second document as findings. Values that YAML 1.1 would convert
unexpectedly (`no`, `1:30`, `010`, `+8613900000000`, dates) stay text; only true/false, null, plain integers and floats
are typed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from adapter import yamltraps
from adapter.errors import Finding
from adapter.files import MAX_BYTES, content

MAX_NODES: Final = 200_000
MAX_MESSAGE: Final = 500  # characters of a finding, and of its hint; they may name keys of any length and number

_LONGEST_WORD: Final = 64  # characters; difflib takes time in proportion to the square
_MOST_WORDS: Final = 200

_QUOTED: Final = re.compile("'([^']*)'")
_WORD: Final = re.compile("[A-Za-z][A-Za-z_-]*")  # a key that is no secret
_SURROGATES: Final = re.compile("[\ud800-\udfff]")

Loc = tuple[str | int, ...]


class Mark(NamedTuple):
    """Where a value and its key start, counted from 1, and how the value is quoted."""

    line: int
    col: int
    style: str | None = None  # '"', "'", "|", ">" or None for plain
    key_line: int = 0
    key_col: int = 0


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own class attribute


_TYPES: Final = {
    "tag:yaml.org,2002:bool": ("true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    "tag:yaml.org,2002:null": ("~|null|Null|NULL|", [*"~nN", ""]),
    "tag:yaml.org,2002:int": ("0|-?[1-9][0-9]*", [*"-0123456789"]),
    "tag:yaml.org,2002:float": (r"-?(?:0|[1-9][0-9]*)\.[0-9]+", [*"-0123456789"]),
}
"""Tag -> the pattern of its plain values, and their first characters."""

for _tag, (_pattern, _first) in _TYPES.items():
    _Loader.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), _first)


class YamlFile:
    """One file's data with the position of every key and value. `findings` are those of the YAML text."""

    def __init__(self, name: str, written: bytes, *, secret: bool = False) -> None:
        """`secret`: the file may hold secrets under any key, misspelt ones too. Findings show its keys and no value."""
        self.name = name
        self.data: Any = None
        self.lines: list[str] = []
        self.findings: list[Finding] = []
        self._secret = secret
        self._shown: dict[int, dict[int, str]] = {}  # of a secret file: what may be seen, by line and column
        self._marks: dict[Loc, Mark] = {}
        self._characters_read = 0
        self._placed: Loc | None = None  # the text whose characters are in _places
        self._places: list[tuple[int, int, int]] = []
        try:
            text = written.decode("utf-8-sig")
            wrong = None
        except UnicodeDecodeError as exc:
            text, wrong = "", exc.start
        message, hint = yamltraps.encoding(written, wrong)
        if message:
            self.findings.append(Finding(name, *yamltraps.place(written, wrong or 0), message, hint))
            return
        self.lines = text.splitlines()
        self._load(text)

    def drop_extensions(self) -> None:
        """Leave out the keys of the file that begin with `x-`, which hold anchors for the others."""
        if isinstance(self.data, dict):
            self.data = {key: value for key, value in self.data.items() if not key.startswith("x-")}

    def mark(self, loc: Loc) -> Mark:
        """The position of `loc`, or of the innermost value around it that exists."""
        while loc and loc not in self._marks:
            loc = loc[:-1]
        return self._marks.get(loc, Mark(1, 1))

    def position(self, loc: Loc, offset: int) -> tuple[int, int]:
        """Line and column of a character of a text, however the text is quoted.

        For white space and beyond the text it is the end of what stands before.
        """
        text = self.data
        for part in loc:
            text = text[part]
        if self._placed != loc:  # one text may have many findings
            mark = self.mark(loc)
            places = islice(self._characters(mark), _solid(text))
            self._placed, self._places = loc, [(mark.line, mark.col, mark.col), *places]
        # Quotes and folded lines change nothing but white space, so that the other characters can be counted.
        before = _solid(text[:offset])
        if text[offset : offset + 1].strip():
            line, col, _ = self._places[before + 1]
        else:
            line, _, col = self._places[before]
        return line, col

    def _characters(self, mark: Mark) -> Iterator[tuple[int, int, int]]:
        """Line, column and column behind it of each character of a text that is not white space."""
        first, col = (mark.line + 1, 0) if mark.style in ("|", ">") else (mark.line, mark.col - 1)
        pattern = _CHARACTERS.get(mark.style or "", _CHARACTER)
        if mark.style in _CHARACTERS:
            col += 1
        for number in range(first, len(self.lines) + 1):
            for found in pattern.finditer(self.lines[number - 1], col):
                if not (mark.style == '"' and found[0].startswith("\\") and _is_space(found[0])):
                    yield number, found.start() + 1, found.end() + 1
            col = 0

    def finding(
        self, loc: Loc, message: str, hint: str = "", *, at_key: bool = False, offset: int | None = None
    ) -> Finding:
        """An error at a value, at its key, or at a character of its text."""
        if offset is not None:
            return self.finding_at(*self.position(loc, offset), message, hint)
        mark = self.mark(loc)
        if not (at_key and mark.key_line):
            return self.finding_at(mark.line, mark.col, message, hint)
        return self.finding_at(mark.key_line, mark.key_col, message, hint)

    def typed(self, finding: Finding) -> Finding:
        """A finding about the shape of the file, or what was typed there that only looks right."""
        trap = yamltraps.at(self.lines, finding.line, finding.col)
        return self.finding_at(*trap) if trap else finding

    def finding_at(self, line: int, col: int, message: str, hint: str = "") -> Finding:
        message, hint = (
            text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1] + "…" for text in (message, hint)
        )
        return Finding(self.name, line, col, message, hint, self._excerpt(line, col))

    def _excerpt(self, line: int, end: int) -> str:
        if not self._secret:
            return self.lines[line - 1] if 0 < line <= len(self.lines) else ""
        text = ""
        for col, piece in sorted(self._shown.get(line, {}).items()):
            if col <= end:
                text = text.ljust(col - 1) + piece
        return text

    def _load(self, text: str) -> None:
        try:
            loader = _Loader(text)
            node = loader.get_single_node()
            if node is not None:
                self.data = self._value(loader, node, ())
        except yaml.MarkedYAMLError as exc:
            mark = exc.problem_mark or exc.context_mark
            problem = str(exc.problem or exc.context)
            if exc.context == "while scanning a quoted scalar" and "end of stream" in problem:
                mark, problem = exc.context_mark, "the quote is not closed"
            line, col = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            if self._secret:  # an alias or a tag may be a secret that was not put in quotes
                problem = _QUOTED.sub(
                    lambda found: found[0] if len(found[1]) < 2 or found[1][0] == "<" else "'…'", problem
                )
            trap = yamltraps.behind(self.lines, line, col, problem)
            self.findings.append(self.finding_at(*trap) if trap else self.finding_at(line, col, f"not YAML: {problem}"))
        except (yaml.YAMLError, RecursionError, ValueError) as exc:  # ValueError: "\U00110000"
            reason = "nested too deeply" if isinstance(exc, RecursionError) else str(exc).splitlines()[0]
            self.findings.append(self.finding_at(1, 1, f"not YAML: {reason}"))

    def _value(self, loader: _Loader, node: yaml.Node, loc: Loc, key: yaml.Node | None = None) -> Any:
        if len(self._marks) == MAX_NODES:
            raise yaml.YAMLError("more than 200 000 values (aliases count each time)")
        self._characters_read += sum(len(one.value) for one in (node, key) if isinstance(one, yaml.ScalarNode))
        if self._characters_read > MAX_BYTES:  # what is one text here may be written out many times later
            raise yaml.YAMLError("more than 4 MiB of text (aliases count each time)")
        (line, col), (key_line, key_col) = _start(node), _start(key)
        self._marks[loc] = Mark(line, col, getattr(node, "style", None), key_line, key_col)
        self._show(node, "…" if isinstance(node, yaml.ScalarNode) else "")
        if isinstance(node, yaml.SequenceNode):
            return [self._value(loader, item, (*loc, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            if self.lines[line - 1].startswith("{{", col - 1):
                self._report(node, "a template needs quotes around it", "put the whole value in quotes")
                return ""
            return self._mapping(loader, node, loc)
        return self._scalar(loader, node)

    def _mapping(self, loader: _Loader, node: yaml.MappingNode, loc: Loc) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode):
                self._report(key_node, "a key must be a plain word")
            elif self._secret and not self._has_colon(key_node):
                self._report(key_node, "a key has a colon and a space behind it")
            elif key == "<<" and key_node.style is None:
                self._report(key_node, "merge keys are not known here", "write the keys out")
            elif key in data:
                first = self._marks[(*loc, key)].key_line
                self._report(key_node, f"duplicate key {key!r}", f"it stands in line {first} already")
            elif not self._has_surrogate(key_node):
                data[key] = self._value(loader, value_node, (*loc, key), key_node)
        return data

    def _scalar(self, loader: _Loader, node: yaml.Node) -> Hashable:
        if node.tag not in _TYPES and node.tag != "tag:yaml.org,2002:str":
            if self._secret:
                self._report(node, "a value that begins with ! is a tag", "put it in quotes")
            else:
                hint = (
                    "a value that begins with ! needs quotes; in a condition write `not`" if node.tag[0] == "!" else ""
                )
                self._report(node, f"the tag {node.tag!r} is not known here", hint)
            return str(node.value)
        if self._has_surrogate(node):
            return ""
        try:
            value: Hashable = loader.construct_object(node)
        except ValueError:  # Python takes no number of more than 4300 digits
            self._report(node, "the number is too long", "put it in quotes")
            return ""
        return value

    def _has_surrogate(self, node: yaml.Node) -> bool:
        """Half of a character, which only an escape such as "\\ud83d" can write; pydantic takes no such text."""
        found = _SURROGATES.search(node.value) is not None
        if found:
            self._report(node, "escapes from \\ud800 to \\udfff are halves of characters", "write the character itself")
        return found

    def _has_colon(self, key: yaml.Node) -> bool:
        """Notes that the key may be seen. Without a colon it may be anything: a value, `key=value`, `key:value`."""
        line, col = key.end_mark.line, key.end_mark.column
        found = self.lines[line][col:].lstrip().startswith(":")
        if found and _WORD.fullmatch(key.value):
            self._show(key, self.lines[line][key.start_mark.column : col] + ":")
        return found

    def _show(self, node: yaml.Node, text: str) -> None:
        line, col = _start(node)
        if self._secret and text:
            self._shown.setdefault(line, {})[col] = text

    def _report(self, node: yaml.Node, message: str, hint: str = "") -> None:
        self.findings.append(self.finding_at(*_start(node), message, hint))


def _solid(text: str) -> int:
    """How many characters are not white space."""
    return len("".join(text.split()))


def _start(node: yaml.Node | None) -> tuple[int, int]:
    """Line and column from 1; zeros without a node."""
    return (node.start_mark.line + 1, node.start_mark.column + 1) if node else (0, 0)


_CHARACTERS: Final = {"'": re.compile(r"''|\S"), '"': re.compile(r"\\(?:x.{2}|u.{4}|U.{8}|.)|\S")}
_CHARACTER: Final = re.compile(r"\S")
"""By quoting, a character as it is written."""


def _is_space(escape: str) -> bool:
    """Whether an escape in double quotes is white space, as a backslash at the end of a line is."""
    kind, code = escape[1:2], escape[2:]
    char = chr(int(code, 16)) if code else yaml.scanner.Scanner.ESCAPE_REPLACEMENTS.get(kind, " ")
    return char.isspace()


def read(path: Path, *, secret: bool = False, amended: Callable[[bytes], bytes] = bytes) -> YamlFile:
    """Read one file. A file that cannot be read has one finding and no data.

    `amended` may change the text without moving a character.
    """
    try:
        return YamlFile(str(path), amended(content(path, MAX_BYTES)), secret=secret)
    except OSError as exc:
        file = YamlFile(str(path), b"")
        file.findings.append(Finding(file.name, 0, 0, f"cannot be read: {exc.strerror or exc}"))
        return file


def nearest(word: str, known: Sequence[str]) -> str:
    """The hint for a misspelt name, empty when no known name is similar, or when it would take long to find out."""
    if len(word) > _LONGEST_WORD or len(known) > _MOST_WORDS:
        return ""
    folded = {name.lower(): name for name in known}
    close = get_close_matches(word.lower(), folded, n=1, cutoff=0.6)
    return f"did you mean {folded[close[0]]!r}?" if close else ""
