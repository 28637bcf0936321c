"""The shape of a mapping file: YAML data -> rules, with a finding for whatever is not as the language has it."""

from __future__ import annotations

import re
from typing import Any, Final

from adapter.coc.fields import ADDITIONAL, BY_NAME, MAPPED
from adapter.errors import Finding
from adapter.mapping.rules.model import NOTES, RESERVED, MappingFile, Rule
from adapter.yamlfile import Loc, YamlFile, nearest

FILE_KEYS: Final = ("lookup", "defaults", "rules")
RULE_KEYS: Final = ("name", "when", "drop", "alarm")
FIELD_KEYS: Final = (*MAPPED, ADDITIONAL)
MAX_NAME: Final = 100
MAX_TEMPLATE: Final = 8 * 1024  # characters; a longer one would keep the parser busy for too long

_KEY: Final = re.compile(r"[^\x00-\x20\x7f][^\x00-\x1f\x7f]{0,99}")

Texts = dict[str, tuple[str, Loc]]
"""Field -> its text and where it stands."""


def read_file(source: YamlFile, name: str) -> tuple[MappingFile, list[Finding]]:
    """The file's rules as far as they can be told, and everything wrong with its shape."""
    reader = _Reader(source)
    file = reader.file(name) if not source.findings or source.data is not None else None
    nothing = MappingFile(source=source, name=name, lookup={}, rules=())
    return file or nothing, [*source.findings, *reader.findings]


class _Reader:
    def __init__(self, source: YamlFile) -> None:
        self._source = source
        self.findings: list[Finding] = []

    def file(self, name: str) -> MappingFile | None:
        data = self._source.data
        if data is None and not self._source.findings:
            self._add((), "the file is empty", "it needs a list `rules`")
            return None
        if not self._is_mapping(data, (), "a mapping file", "lookup, defaults and rules"):
            return None
        self._unknown(data, (), FILE_KEYS, "a mapping file")
        lookup = self._lookup(data.get("lookup", {}))
        defaults = self._fields(data["defaults"], ("defaults",)) if "defaults" in data else {}
        return MappingFile(source=self._source, name=name, lookup=lookup, rules=tuple(self._rules(data, defaults)))

    def _add(self, loc: Loc, message: str, hint: str = "", *, at_key: bool = False) -> None:
        self.findings.append(self._source.finding(loc, message, hint, at_key=at_key))

    def _is_mapping(self, value: Any, loc: Loc, what: str, of: str) -> bool:
        if not isinstance(value, dict):
            self._add(loc, f"{what} must be a mapping of {of}, not {kind(value)}")
        return isinstance(value, dict)

    def _unknown(self, data: dict[str, Any], loc: Loc, known: tuple[str, ...], what: str) -> None:
        for key in data:
            if key not in known:
                hint = nearest(key, known) or f"known are {', '.join(known)}"
                self._add((*loc, key), f"unknown key {key!r} in {what}", hint, at_key=True)

    def _lookup(self, value: Any) -> dict[str, Any]:
        if not self._is_mapping(value, ("lookup",), "lookup", "tables"):
            return {}
        tables = {}
        for name, table in value.items():
            if self._is_mapping(table, ("lookup", name), f"the lookup table {name!r}", "keys to values"):
                self._plain(table, ("lookup", name))
                tables[name] = table
        return tables

    def _plain(self, value: Any, loc: Loc) -> None:
        if isinstance(value, dict | list):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            for key, item in items:
                self._plain(item, (*loc, key))
        elif value is None:
            self._add(loc, "no value", "write '' for an empty one", at_key=True)
        elif isinstance(value, float):
            self._add(loc, "a number with a fraction may not stay as typed", "put it in quotes")

    def _rules(self, data: dict[str, Any], defaults: Texts) -> list[Rule]:
        entries = data.get("rules")
        if "rules" not in data:
            self._add((), "no rules", "a mapping file needs a list `rules`")
            return []
        if not isinstance(entries, list) or not entries:
            what = "an empty list" if entries == [] else kind(entries)
            self._add(("rules",), f"rules must be a list of at least one rule, not {what}", at_key=entries is None)
            return []
        rules = []
        seen: dict[str, int] = {}
        for number, entry in enumerate(entries):
            rule = self._rule(entry, ("rules", number), defaults)
            if rule is None:
                continue
            if rule.name in seen:
                line = self._source.mark(("rules", seen[rule.name], "name")).line
                loc = ("rules", number, "name")
                self._add(loc, f"a second rule named {rule.name!r}", f"the first stands in line {line}")
            seen.setdefault(rule.name, number)
            rules.append(rule)
        return rules

    def _rule(self, entry: Any, loc: Loc, defaults: Texts) -> Rule | None:
        if not self._is_mapping(entry, loc, "a rule", ", ".join(RULE_KEYS)):
            return None
        self._unknown(entry, loc, RULE_KEYS, "a rule")
        name = self._name(entry, loc)
        drop = entry.get("drop", False)
        if not isinstance(drop, bool):
            self._add((*loc, "drop"), f"drop must be true or false, not {kind(drop)}")
        own = self._fields(entry["alarm"], (*loc, "alarm")) if "alarm" in entry else {}
        if drop is True and "alarm" in entry:
            self._add((*loc, "alarm"), "a rule that drops has no alarm", "keep one of the two", at_key=True)
        elif not drop and "alarm" not in entry and not defaults:
            self._add(loc, "the rule neither maps nor drops", "give it `alarm:` or `drop: true`")
        texts = {} if drop else {**defaults, **own}
        return Rule(
            name=name,
            when=self._when(entry, loc),
            drop=drop is True,
            fields={field: text for field, (text, _) in texts.items()},
            loc=loc,
            locs={field: where for field, (_, where) in texts.items()},
        )

    def _name(self, entry: dict[str, Any], loc: Loc) -> str:
        name = entry.get("name")
        if "name" not in entry:
            self._add(loc, "the rule has no name", "name it, to find it in reports and tests")
        elif not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME or not name.isprintable():
            self._add((*loc, "name"), f"a rule's name is text of 1 to {MAX_NAME} characters on one line")
        else:
            return name.strip()
        return f"number {int(loc[-1]) + 1}"

    def _when(self, entry: dict[str, Any], loc: Loc) -> str | None:
        when = entry.get("when")
        if "when" not in entry:
            return None
        at = (*loc, "when")
        if not isinstance(when, str) or not when.strip():
            self._add(at, f"when must be an expression, not {kind(when)}", "leave `when` out to take every alert")
            return None
        if len(when) > MAX_TEMPLATE:
            self._add(at, f"longer than {MAX_TEMPLATE} characters")
            return None
        return when

    def _fields(self, value: Any, loc: Loc) -> Texts:
        if not self._is_mapping(value, loc, str(loc[-1]), "COC fields to templates"):
            return {}
        texts: Texts = {}
        for name, text in value.items():
            at = (*loc, name)
            if name == ADDITIONAL:
                texts.update(self._additional(text, at))
            elif name in BY_NAME and BY_NAME[name].own:
                self._add(at, f"{name} is set by the adapter", "leave it out", at_key=True)
            elif name not in MAPPED:
                hint = nearest(name, FIELD_KEYS) or f"anything else goes under {ADDITIONAL}"
                self._add(at, f"COC has no field {name!r}", hint, at_key=True)
            elif self._is_text(text, at):
                texts[name] = (text, at)
        return texts

    def _additional(self, value: Any, loc: Loc) -> Texts:
        if not self._is_mapping(value, loc, ADDITIONAL, "names to templates"):
            return {}
        texts: Texts = {}
        for key, text in value.items():
            at = (*loc, key)
            if key in RESERVED:
                whose = "the adapter sets it" if key in NOTES else "it is for the full text of a clipped field"
                self._add(at, f"{key!r} in {ADDITIONAL} is taken", whose, at_key=True)
            elif not _KEY.fullmatch(key):
                self._add(at, f"a name in {ADDITIONAL} has 1 to 100 characters on one line", at_key=True)
            elif self._is_text(text, at):
                texts[f"{ADDITIONAL}.{key}"] = (text, at)
        return texts

    def _is_text(self, value: Any, loc: Loc) -> bool:
        if not isinstance(value, str):
            hint = "leave the field out" if value is None else "put it in quotes"
            self._add(loc, f"a field is text or a template, not {kind(value)}", hint, at_key=value is None)
        elif len(value) > MAX_TEMPLATE:
            self._add(loc, f"longer than {MAX_TEMPLATE} characters")
        return isinstance(value, str) and len(value) <= MAX_TEMPLATE


def kind(value: object) -> str:
    """What a person would call it."""
    if value == "":
        return "empty text"
    names = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", type(None): "nothing"}
    return names.get(type(value), "a number")
