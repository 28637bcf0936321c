"""The shape of a mapping file: pydantic models, and the rules that are read with them.

A file's own keys are validated first, then each rule by itself, so that one bad rule hides no finding in the others.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, model_validator

from adapter.coc.fields import ADDITIONAL, BY_NAME, MAPPED
from adapter.errors import Finding
from adapter.mapping.rules import pasted
from adapter.mapping.rules.model import MOST_FINDINGS, NOTES, RESERVED, MappingFile, Rule
from adapter.validation import Problem, Problems, kind, validate
from adapter.yamlfile import Loc, YamlFile, nearest

MAX_NAME: Final = 100
MAX_DEPTH: Final = 50  # of a lookup table
MAX_TEMPLATE: Final = 8 * 1024  # characters; a longer one would keep the parser busy for too long

_TOO_LARGE: Final = "the rules are larger than 16 MiB together, defaults counted for each rule and 100 bytes a template"
_EXTRA_NAME: Final = re.compile(r"[^\x00-\x20\x7f][^\x00-\x1f\x7f]{0,99}")


_FIELDS_MEANT: Final = {
    **dict.fromkeys(("name", "title", "alertname"), "alarmName"),
    **dict.fromkeys(("severity", "level"), "alarmLevel"),
    **dict.fromkeys(("summary", "description", "message"), "alarmDesc"),
    **dict.fromkeys(("url", "link", "runbook", "runbook_url"), "URL"),
    **dict.fromkeys(("resource", "instance"), "resourceName"),
    **dict.fromkeys(("application", "app"), "applicationId"),
    "namespace": "nameSpace",
    "region": "regionId",
    "source": "alarmSource",
}
"""Names of Prometheus and of other tools -> COC's."""
_CONDITIONS_MEANT: Final = ("if", "match", "match_re", "matchers", "condition", "where", "selector")


def _template(value: Any) -> str:
    if not isinstance(value, str):
        hint = "leave the field out" if value is None else "put it in quotes"
        raise Problem(f"a field is text or a template, not {kind(value)}", hint, at_key=value is None)
    return _short(value)


def _short(text: str) -> str:
    if len(text) > MAX_TEMPLATE:
        raise Problem(f"longer than {MAX_TEMPLATE} characters")
    return text


def _condition(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise Problem(f"when must be an expression, not {kind(value)}", "leave `when` out to take every alert")
    return _short(value)


def _rule_name(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_NAME or not value.isprintable():
        raise Problem(f"a rule's name is text of 1 to {MAX_NAME} characters on one line")
    return value.strip()


def _field_name(name: str) -> str:
    if name in BY_NAME and BY_NAME[name].own:
        raise Problem(f"{name} is set by the adapter", "leave it out", at_key=True)
    if name not in MAPPED:
        meant = _FIELDS_MEANT.get(name)
        hint = f"write {meant}, or put it under {ADDITIONAL}" if meant else nearest(name, (*MAPPED, ADDITIONAL))
        hint = hint or f"anything else goes under {ADDITIONAL}"
        raise Problem(f"COC has no field {name!r}", hint, at_key=True)
    return name


def _extra_name(name: str) -> str:
    if name in RESERVED:
        owner = "the adapter sets it" if name in NOTES else "it is for the full text of a clipped field"
        raise Problem(f"{name!r} in {ADDITIONAL} is taken", owner)
    if not _EXTRA_NAME.fullmatch(name):
        raise Problem(f"a name in {ADDITIONAL} has 1 to 100 characters on one line")
    return name


def _table(table: dict[str, Any]) -> dict[str, Any]:
    if problems := _untyped(table, ()):
        raise Problems(problems)
    return table


def _untyped(value: Any, at: Loc) -> list[Problem]:
    """The values of a lookup table that would not become the text that was typed."""
    if len(at) > MAX_DEPTH:
        return [Problem(f"nested more than {MAX_DEPTH} levels deep", at=at)]
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [problem for key, item in items for problem in _untyped(item, (*at, key))]
    if value is None:
        return [Problem("no value", "write '' for an empty one", at=at, at_key=True)]
    if isinstance(value, float):
        return [Problem("a number with a fraction may not stay as typed", "put it in quotes", at=at)]
    return []


Template = Annotated[str, BeforeValidator(_template)]


class _Fields(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[Annotated[str, AfterValidator(_field_name)], Template]
    additional: dict[Annotated[str, AfterValidator(_extra_name)], Template] = Field(
        {}, description="names to templates"
    )

    def texts(self, loc: Loc) -> dict[str, tuple[str, Loc]]:
        """Field or `additional.KEY` -> its template and where that stands, `loc` being where the fields stand."""
        fields = {name: (text, (*loc, name)) for name, text in self.__pydantic_extra__.items()}
        for key, text in self.additional.items():
            fields[f"{ADDITIONAL}.{key}"] = (text, (*loc, ADDITIONAL, key))
        return fields


_NO_FIELDS: Final = _Fields.model_validate({})


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, title="a rule")

    @model_validator(mode="before")
    @classmethod
    def _own_kind(cls, value: Any) -> Any:
        if isinstance(value, dict) and "alert" in value and "expr" in value:
            hint = "a mapping rule has name, when and alarm; `when` asks for labels.alertname"
            raise Problem("this is an alerting rule of Prometheus", hint, at=("alert",), at_key=True)
        for key in _CONDITIONS_MEANT:
            if isinstance(value, dict) and key in value:
                hint = 'write `when:` with an expression, such as `when: labels.severity == "critical"`'
                raise Problem(f"unknown key {key!r} in a rule", hint, at=(key,), at_key=True)
        return value

    name: Annotated[str, BeforeValidator(_rule_name)] = Field(description="reports and tests show it")
    when: Annotated[str | None, BeforeValidator(_condition)] = None
    drop: StrictBool = False
    alarm: _Fields = Field(default=_NO_FIELDS, description="COC fields to templates")

    @model_validator(mode="after")
    def _one_outcome(self) -> _Rule:
        if self.drop and self.maps:
            raise Problem("a rule that drops has no alarm", "keep one of the two", at=("alarm",), at_key=True)
        return self

    @property
    def maps(self) -> bool:
        return "alarm" in self.model_fields_set


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, title="a mapping file")
    lookup: dict[str, Annotated[dict[str, Any], AfterValidator(_table)]] = Field(default={}, description="tables")
    defaults: _Fields = Field(default=_NO_FIELDS, description="COC fields to templates")
    rules: list[Any] = Field(min_length=1, description="at least one rule")


def _read_head(source: YamlFile) -> tuple[_File | None, list[Finding]]:
    """The file without its rules, None where it has not the shape of one, and every finding about that."""
    findings = list(source.findings)
    source.drop_extensions()
    if other := pasted.foreign(source):
        return None, [*findings, other]
    if source.data is not None:
        file, problems = validate(source, _File)
        return file, findings + _untold(source, problems)
    return None, findings or [source.finding((), "the file is empty", "it needs a list `rules`")]


def _untold(source: YamlFile, problems: list[Finding]) -> list[Finding]:
    """Without those at the place of a finding about the YAML text, which says more."""
    reported = {(finding.line, finding.col) for finding in source.findings}
    return [source.typed(problem) for problem in problems if (problem.line, problem.col) not in reported]


def read_file(source: YamlFile, name: str, most: int) -> tuple[MappingFile, list[Finding]]:
    """The rules of the right shape, and every finding about the others and about the file itself.

    `most`: the size that its rules may have together. Every rule repeats the defaults, so that a small file may hold a
    great many templates.
    """
    file, findings = _read_head(source)
    rules: list[Rule] = []
    lines: dict[str, int] = {}  # of the first rule of each name
    defaults = file.defaults.texts(("defaults",)) if file else {}
    for number in range(len(file.rules) if file else 0):
        if len(findings) > MOST_FINDINGS:
            break
        loc = ("rules", number)
        rule, problems = validate(source, _Rule, loc)
        findings += _untold(source, problems)
        if rule is None:
            continue
        if not (rule.drop or rule.maps or defaults):
            hint = "give it `alarm:` or `drop: true`"
            findings.append(source.finding(loc, "the rule neither maps nor drops", hint))
            continue
        named = (*loc, "name")
        if rule.name in lines:
            hint = f"the first stands in line {lines[rule.name]}"
            findings.append(source.finding(named, f"a second rule named {rule.name!r}", hint))
        lines.setdefault(rule.name, source.mark(named).line)
        fields = {} if rule.drop else {**defaults, **rule.alarm.texts((*loc, "alarm"))}
        rules.append(Rule(name=rule.name, when=rule.when, drop=rule.drop, fields=fields, loc=loc))
        most -= rules[-1].size
        if most < 0:
            findings.append(source.finding(loc, _TOO_LARGE))
            break
    return MappingFile(source=source, name=name, lookup=file.lookup if file else {}, rules=tuple(rules)), findings
