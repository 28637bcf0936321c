"""PURE: one alert through the compiled rules. Runs in the child only; the clock it needs is passed in.

The quick road is one call for the conditions of a file and one for the fields of the rule. Where that fails or is slow,
each template runs alone, which tells the one at fault; what wanted too much memory or time is not run again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from jinja2 import Template
from jinja2.runtime import Context

from adapter.mapping.compiled import WHEN, Compiler, File, Mark, Part, Rule, Why, build
from adapter.mapping.compose import Composed, Origin, Subject, all_fall_back, compose
from adapter.mapping.job import Fallback, Reason
from adapter.mapping.template import names_of

MAX_TEXT: Final = 64 * 1024  # characters kept of one rendered text, far above every limit of the contract
MAX_DETAIL: Final = 200


class Outcome(NamedTuple):
    """What became of one alert; `body` is None when the rule drops it."""

    rule: str | None
    mapping: str | None
    dropped: bool
    fallbacks: list[Fallback]
    clipped: list[str]
    body: dict[str, Any] | None


class Program:
    """A rule set ready to run. `cpu` tells CPU seconds; a template that takes more than `patience` is quarantined."""

    def __init__(
        self,
        data: Mapping[str, Any],
        bad: Mapping[int, Why],
        *,
        mark: Mark,
        cpu: Callable[[], float],
        patience: float,
    ) -> None:
        self.bad: dict[int, Why] = dict(bad)
        self._revision: str = data["revision"]
        self._cpu = cpu
        self._patience = patience
        self._compiler = Compiler(mark)
        self._files = build(data, self._compiler, self.bad)
        self._alone: dict[int, Template] = {}

    def render(self, subject: Subject, integration: str) -> Outcome:
        """The first rule that takes the alert, rendered within the contract; the built-in body when none does."""
        names = names_of(subject.alert, subject.group, integration)
        problems: dict[str, Why] = {}
        for file in self._files:
            context = Context(self._compiler.env, {**file.names, **names}, None, {})
            number = self._choose(file, context, problems)
            if number is not None:
                return self._apply(file, file.rules[number], context, subject, problems)
        problems.update(all_fall_back(Reason.NO_RULE, subject.contract))
        return _outcome(None, None, compose(subject, Origin(None, None, self._revision), {}, problems))

    def rehearse(self, subject: Subject, integration: str, file: File, rule: Rule, when: Part | None) -> None:
        """Run every template of one rule on an alert, whether it takes it or not."""
        names = names_of(subject.alert, subject.group, integration)
        context = Context(self._compiler.env, {**file.names, **names}, None, {})
        if when is not None:
            self._alone_run(when, self._compiler.condition, context, {})
        self._fields(rule, context, {})

    def rules(self) -> list[tuple[File, Rule, Part | None]]:
        return [(file, rule, when) for file in self._files for rule, when in zip(file.rules, file.whens, strict=True)]

    def _choose(self, file: File, context: Context, problems: dict[str, Why]) -> int | None:
        if file.choose is not None and not file.suspect:
            started = self._cpu()
            try:
                chosen = next(iter(file.choose.root_render_func(context)), None)
            except Exception:
                file.suspect = True
            else:
                file.suspect = self._cpu() - started > self._patience
                return None if chosen is None else int(chosen)
        file.suspect = file.choose is None
        for number, part in enumerate(file.whens):
            if part is None:
                return number
            found: dict[str, Why] = {}
            if self._alone_run(part, self._compiler.condition, context, found):
                return number
            for reason, detail in found.values():
                _note(problems, file.rules[number].name, reason, detail)
        return None

    def _apply(self, file: File, rule: Rule, context: Context, subject: Subject, problems: dict[str, Why]) -> Outcome:
        if rule.drop:
            return Outcome(rule.name, file.name, True, [Fallback(n, *why) for n, why in problems.items()], [], None)
        values = self._fields(rule, context, problems)
        composed = compose(subject, Origin(rule.name, file.name, self._revision), values, problems)
        return _outcome(rule.name, file.name, composed)

    def _fields(self, rule: Rule, context: Context, problems: dict[str, Why]) -> dict[str, str]:
        if rule.fused is None:
            texts: list[str] | None = []
        else:
            texts = self._together(rule, context)
        if texts is None:
            return self._apart(rule, context, problems)
        values = dict(rule.constants)
        for part, text in zip(rule.live, texts, strict=False):
            values[part.name] = text[:MAX_TEXT]
        if len(rule.live) < len(rule.parts):
            problems.update({p.name: self.bad[p.place] for p in rule.parts if p.place in self.bad})
        return values

    def _together(self, rule: Rule, context: Context) -> list[str] | None:
        if rule.suspect or rule.fused is None:
            return None
        started = self._cpu()
        try:
            texts = "".join(rule.fused.root_render_func(context)).split(self._compiler.separator)
        except Exception:
            return None
        rule.suspect = self._cpu() - started > self._patience
        return texts if len(texts) == len(rule.live) + 1 else None

    def _apart(self, rule: Rule, context: Context, problems: dict[str, Why]) -> dict[str, str]:
        known = len(self.bad)
        values = dict(rule.constants)
        for part in rule.parts:
            text = self._alone_run(part, self._compiler.field, context, problems)
            if part.name not in problems:
                values[part.name] = text
        rule.suspect = False
        if len(self.bad) > known:
            rule.fuse(self.bad)
        return values

    def _alone_run(
        self, part: Part, compile_part: Callable[[Part], Template], context: Context, problems: dict[str, Why]
    ) -> str:
        """The text of one template, empty when it fails; why it failed goes into `problems`."""
        if part.place in self.bad:
            problems[part.name] = self.bad[part.place]
            return ""
        started = self._cpu()
        text = ""
        try:
            if part.place not in self._alone:
                self._alone[part.place] = compile_part(part)
                started = self._cpu()
            text = "".join(self._alone[part.place].root_render_func(context))[:MAX_TEXT]
        except MemoryError:
            self.bad[part.place] = problems[part.name] = (Reason.MEMORY, "")
        except Exception as exc:
            problems[part.name] = (Reason.ERROR, one_line(exc))
        spent = self._cpu() - started
        if spent > self._patience and part.place not in self.bad:
            self.bad[part.place] = problems[part.name] = (Reason.TIMEOUT, f"it took {spent:.2f} s")
        return "" if part.name in problems else text


def one_line(exc: BaseException) -> str:
    """An error as a few words for a person, at most 200 characters."""
    text = " ".join(str(exc).split()) or type(exc).__name__
    return text if len(text) <= MAX_DETAIL else text[: MAX_DETAIL - 1] + "…"


def _note(problems: dict[str, Why], rule: str, reason: Reason, detail: str) -> None:
    """Several conditions may fail before one is true; they share the field `when`."""
    told = f"rule {rule}" + (f": {detail}" if detail else "")
    if WHEN in problems:
        first, before = problems[WHEN]
        reason, told = first, f"{before}; {told}"
    problems[WHEN] = (reason, told[:MAX_DETAIL])


def _outcome(rule: str | None, mapping: str | None, composed: Composed) -> Outcome:
    return Outcome(rule, mapping, False, composed.fallbacks, composed.clipped, composed.body)
