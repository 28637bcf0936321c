"""PURE: compiles a rule set and renders alerts by it, one template after another. Runs in the worker process only.

A template that fails costs its own field and is run again for the next alert. One that takes more than `patience` CPU
seconds puts its rule into quarantine for a minute: none of the rule's field templates is run, and each of these fields
falls back. A condition in quarantine counts as failed. Once a condition has failed, no later rule may drop the alert.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from types import CodeType
from typing import Any, Final, NamedTuple

from jinja2 import nodes
from jinja2.runtime import Context
from pydantic_core import from_json

from adapter.application import Index, Lookup, find
from adapter.errors import RenderError, one_line
from adapter.mapping.render.body import NO_RULE, Origin, Rendered, Subject, all_fall_back, compose, fallback
from adapter.mapping.render.request import FailureReason, Reason, RenderRequest, RenderResult
from adapter.mapping.render.uncarried import reads_of
from adapter.mapping.rules.filters import DEFAULT_LEVEL, known_level
from adapter.mapping.rules.language import (
    WHEN,
    MappingEnvironment,
    constant,
    environment,
    lookup_names,
    names_of,
    parse,
    texts_read,
)

MAX_TEXT: Final = 64 * 1024  # characters kept of one rendered text, far above every limit of the contract
MAX_DETAIL: Final = 200
MAX_LOOKUPS: Final = 100  # kept of one alert
KEPT_CODE: Final = 1024  # templates
QUARANTINE_SECONDS: Final = 60.0  # then the next alert tries the template again


_COMPILER: Final = environment()


class CannotCompile(RenderError):
    """A template that parses but cannot be compiled."""

    def __init__(self, place: int, message: str) -> None:
        """`place`: the template's number, see RuleSet.finding."""
        self.place = place
        super().__init__(message)


class Template(NamedTuple):
    place: int
    field: str
    reads: frozenset[tuple[str, str | None]]  # see texts_read
    render: Callable[[Context], Iterable[str]]


class Rule:
    """One rule, compiled. `lookup`: the tables of its file."""

    def __init__(
        self,
        env: MappingEnvironment,
        place: int,
        data: Mapping[str, Any],
        *,
        mapping: str,
        lookup: Mapping[str, Any],
        begin: Callable[[int], None],
    ) -> None:
        """`place`: the number of the condition; those of the fields follow it. `begin`: see Program."""
        self.name: str = data["name"]
        self.drop: bool = data["drop"]
        self.mapping = mapping
        self.lookup = lookup
        self.condition: Template | None = None
        self.texts: dict[str, str] = {}  # the fields that are plain text
        self.templates: list[Template] = []  # the other fields
        sources = {WHEN: data["when"], **{name: source for name, (source, _) in data["fields"].items()}}
        for number, (name, source) in enumerate(sources.items(), place):
            if source is None:
                continue
            begin(number)
            compiled = _compiled(env, number, name, source)
            if isinstance(compiled, str):
                self.texts[name] = compiled
            elif name == WHEN:
                self.condition = compiled
            else:
                self.templates.append(compiled)
        self.reads = reads_of({template.field: template.reads for template in self.templates})


def _compiled(env: MappingEnvironment, place: int, name: str, source: str) -> Template | str:
    """A template to run, or the text of one without anything to evaluate."""
    try:
        code, reads = _code(source, expression=name == WHEN)
        if isinstance(code, str):
            return code
        template = env.template_class.from_code(env, code, {}, None)
    except Exception as exc:  # Jinja2 and Python's compiler refuse in many ways what they have parsed
        raise CannotCompile(place, detail_of(exc)) from exc
    return Template(place, name, reads, template.root_render_func)


@lru_cache(KEPT_CODE)  # every rule repeats the defaults of its file, and a draft differs little from the one before
def _code(source: str, *, expression: bool) -> tuple[CodeType | str, frozenset[tuple[str, str | None]]]:
    """What a template compiles to, for any environment of the language, and the texts that it reads."""
    tree = parse(_COMPILER, source, expression=expression)
    for joined in [*tree.find_all(nodes.Concat)]:  # str would write booleans as Python does
        joined.nodes = [nodes.Filter(part, "string", [], [], None, None, lineno=1) for part in joined.nodes]
    reads = texts_read(tree)
    if expression:
        body = _condition(tree)
    elif (text := constant(tree)) is not None:
        return text, reads
    else:
        # The templates of an alert share one context: without a scope what one sets would be seen by the next.
        body = nodes.Scope(tree.body, lineno=1)
    whole = nodes.Template([body], lineno=1)
    whole.set_environment(_COMPILER)
    return _COMPILER.compile(whole), reads


def _condition(tree: nodes.Template) -> nodes.Node:
    """Gives some text exactly when the condition is true."""
    (output,) = tree.find_all(nodes.Output)
    true = nodes.Output([nodes.TemplateData("true")], lineno=1)
    return nodes.If(output.nodes[0], [true], [], [], lineno=1)


PassedOver = list[tuple[Rule, str | FailureReason | None]]
"""Rules with what their conditions gave; None where that was not asked."""


class Program:
    """A rule set ready to render."""

    def __init__(
        self,
        data: Mapping[str, Any],
        quarantined: Mapping[int, FailureReason],
        *,
        mark: Callable[[int], None],
        clock: Callable[[], float],
        lap: Callable[[], float],
        patience: float,
    ) -> None:
        """CannotCompile names the first template that cannot be compiled.

        `mark` takes the number of each template before it is compiled and before it runs. `clock` gives seconds and is
        called for each template.
        `lap` gives the CPU seconds since it was called last or the alert began, and sets the deadline anew, so that no
        template is stopped for the time that another one took.
        """
        self._mark = mark
        self._clock = clock
        self._lap = lap
        self._patience = patience
        self._clock_before = clock()
        self._quarantined: dict[int, tuple[FailureReason, float]] = {}  # by template's number, with its end
        for place, why in quarantined.items():
            self._quarantine(place, why)
        self._revision: str = data["revision"]
        self._directories: dict[str, Index] = {}  # by integration; under the empty name that of all others
        self._directory: Index | None = None  # of the alert that is rendered
        self._lookups: list[tuple[Lookup, str]] = []  # for that alert so far, with the texts that were looked up
        # A preview sets a list, which gets the rules that do not take an alert.
        self.passed_over: PassedOver | None = None
        self._env = environment()
        self._env.filters["application"] = self._application
        self._env.filters["level"] = self._level
        self._unknown_severity = ""
        self.rules: list[Rule] = []
        place = 0
        for file in data["files"]:
            lookup = lookup_names(file["lookup"])
            for item in file["rules"]:
                rule = Rule(self._env, place, item, mapping=file["name"], lookup=lookup, begin=self._begin)
                self.rules.append(rule)
                place += 1 + len(item["fields"])

    def _begin(self, place: int) -> None:
        self._mark(place)
        self._lap()

    def set_directory(self, integration: str, index: Index | None) -> None:
        if index is None:
            self._directories.pop(integration, None)
        else:
            self._directories[integration] = index

    def set_directories(self, directories: Mapping[str, Index]) -> None:
        """These and no others."""
        self._directories = dict(directories)

    def _application(self, value: object) -> str:
        """The filter `application`. Empty text names nothing and is not counted."""
        text = value if type(value) is str else str(value)
        if not text or text.isspace():
            return ""
        id_, lookup = find(self._directory, text)
        if len(self._lookups) < MAX_LOOKUPS:
            self._lookups.append((lookup, text))
        return id_

    def render(self, request: RenderRequest) -> RenderResult:
        """By the first rule that takes the alert; the built-in body when none does or the alert cannot be read."""
        self._directory = self._directories.get(request.integration) or self._directories.get("")
        self._lookups.clear()
        with suppress(ValueError, KeyError, TypeError, AttributeError, MemoryError):
            both = from_json(request.raw)
            result = self._render(Subject(request, both["alert"], both["group"], self._directory))
            return result._replace(lookups=tuple(lookup for lookup, _ in self._lookups)) if self._lookups else result
        return fallback(request, self._revision, Reason.ERROR)

    def _render(self, subject: Subject) -> RenderResult:
        context = self.context(subject)
        problems: dict[str, FailureReason] = {}
        rule = self._choose(context, problems)
        if rule is None:
            problems.update(all_fall_back(Reason.NO_RULE, subject.request.contract))
            return compose(subject, Origin(None, None, self._revision), NO_RULE, problems)
        origin = Origin(rule.name, rule.mapping, self._revision)
        if rule.drop:
            return RenderResult(*origin, True, problems, (), False, None)
        self._unknown_severity = ""
        why_empty: dict[str, str] = {}
        values = self._fields(rule, context, problems, why_empty)
        return compose(subject, origin, Rendered(values, rule.reads, self._unknown_severity, why_empty), problems)

    def _level(self, word: object) -> str:
        """The filter `level`, which notes an unknown word for the alarm."""
        known = known_level(word)
        if known is None:
            self._unknown_severity = str(word).strip()
        return known or DEFAULT_LEVEL

    def try_out(self, rule: Rule, subject: Subject) -> dict[int, FailureReason]:
        """Run every template of one rule, whether it takes the alert or not: those that want too much, by number."""
        context = self.context(subject)
        context.parent["lookup"] = rule.lookup
        excessive: dict[int, FailureReason] = {}
        for template in [*([rule.condition] if rule.condition else []), *rule.templates]:
            result = self._run(template, context)
            why = result if isinstance(result, FailureReason) else self._in_quarantine(template.place)
            if why is not None and why.reason is not Reason.ERROR:
                excessive[template.place] = why
        return excessive

    def context(self, subject: Subject) -> Context:
        """The names that the templates of one alert see, all but `lookup`."""
        self._clock_before = self._clock()
        names = names_of(subject.alert, subject.group, subject.request.integration)
        return Context(self._env, {**self._env.globals, **names}, None, {})

    def _choose(self, context: Context, problems: dict[str, FailureReason]) -> Rule | None:
        for rule in self.rules:
            result: str | FailureReason | None = None
            if not (rule.drop and WHEN in problems):
                context.parent["lookup"] = rule.lookup
                if rule.condition is None:
                    return rule
                result = self._in_quarantine(rule.condition.place) or self._run(rule.condition, context)
                if isinstance(result, FailureReason):
                    problems[WHEN] = _with_condition(problems.get(WHEN), rule.name, result)
                elif result:
                    return rule
            if self.passed_over is not None:
                self.passed_over.append((rule, result))
        return None

    def _fields(
        self, rule: Rule, context: Context, problems: dict[str, FailureReason], why_empty: dict[str, str]
    ) -> dict[str, str]:
        values = dict(rule.texts)
        blamed = {item.field: why for item in rule.templates if (why := self._in_quarantine(item.place))}
        if blamed:
            others = FailureReason(next(iter(blamed.values())).reason)
            problems.update({item.field: blamed.get(item.field, others) for item in rule.templates})
            return values
        for template in rule.templates:
            looked_up = len(self._lookups)
            result = self._run(template, context)
            if isinstance(result, FailureReason):
                problems[template.field] = result
            else:
                values[template.field] = result
                if not result and len(self._lookups) > looked_up:
                    why_empty[template.field] = _no_application(*self._lookups[-1])
        return values

    def _run(self, template: Template, context: Context) -> str | FailureReason:
        self._mark(template.place)
        result: str | FailureReason
        try:
            result = "".join(template.render(context))[:MAX_TEXT]
        except MemoryError:
            result = FailureReason(Reason.MEMORY)
        except Exception as exc:
            result = FailureReason(Reason.ERROR, detail_of(exc))
        now = self._clock()
        # The clock also runs while other processes have the CPU: only CPU time puts a rule into quarantine.
        if now - self._clock_before > self._patience and (seconds := self._lap()) > self._patience:
            self._quarantine(template.place, FailureReason(Reason.TIMEOUT, f"it took {seconds:.2f} s"))
        self._clock_before = now
        return result

    def _quarantine(self, place: int, why: FailureReason) -> None:
        self._quarantined[place] = (why, self._clock_before + QUARANTINE_SECONDS)

    def _in_quarantine(self, place: int) -> FailureReason | None:
        why, until = self._quarantined.get(place, (None, 0.0))
        return why if self._clock_before < until else None


def _no_application(lookup: Lookup, text: str) -> str:
    """Why the filter `application` gave nothing, on one line."""
    what = "names several applications" if lookup is Lookup.AMBIGUOUS else "is no application that COC lists"
    return f"{one_line(text, MAX_DETAIL // 2)!r} {what}"


def detail_of(exc: BaseException) -> str:
    """An error's message on one line of at most 200 characters."""
    return one_line(str(exc), MAX_DETAIL) or type(exc).__name__


def _with_condition(before: FailureReason | None, rule: str, why: FailureReason) -> FailureReason:
    """Several conditions may fail before one is true; they share the field `when` and the reason of the first."""
    detail = f"rule {rule}" + (f": {why.detail}" if why.detail else "")
    if before is None:
        return FailureReason(why.reason, detail[:MAX_DETAIL])
    return FailureReason(before.reason, f"{before.detail}; {detail}"[:MAX_DETAIL])
