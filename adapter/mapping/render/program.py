"""PURE: one alert through the compiled rules. Runs in the child only; the clock it needs is passed in.

The quick road is one call for all conditions and one for the fields of the rule. Where that fails or is slow,
each template runs alone, which tells the one at fault; what wanted too much memory or time is not run again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from jinja2 import Template
from jinja2.runtime import Context

from adapter.coc.fields import tidy
from adapter.mapping.render.body import Composed, Origin, Subject, all_fall_back, compose
from adapter.mapping.render.engine import Compiler, FailureReason, Mark, Part, Rule, base_names, build
from adapter.mapping.render.request import Fallback, Reason
from adapter.mapping.rules.language import WHEN, names_of

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
    """A rule set ready to run. A template that takes more than `patience` CPU seconds is quarantined.

    `clock` tells seconds, cheaply; where they ran away, `cpu` tells those that were used. `eager` compiles every rule
    at once, and CannotCompile tells the one that cannot be; else a rule is compiled when it first takes an alert.
    """

    def __init__(
        self,
        data: Mapping[str, Any],
        bad: Mapping[int, FailureReason],
        *,
        mark: Mark,
        clock: Callable[[], float],
        cpu: Callable[[], float],
        patience: float,
        eager: bool = True,
    ) -> None:
        self.bad: dict[int, FailureReason] = dict(bad)
        self._revision: str = data["revision"]
        self._clock = clock
        self._cpu = cpu
        self._patience = patience
        self._compiler = Compiler(mark)
        self._names = base_names(data, self._compiler)
        self.rules = build(data, self._compiler)
        if eager:
            for rule in self.rules:
                rule.prepare(self.bad)
        self._choose_again()
        self._alone: dict[int, Template] = {}

    def render(self, subject: Subject, integration: str) -> Outcome:
        """The first rule that takes the alert, rendered within the contract; the built-in body when none does."""
        context = self._context(subject, integration)
        problems: dict[str, FailureReason] = {}
        rule = self._choose(context, problems)
        if rule is not None:
            return self._apply(rule, context, subject, problems)
        problems.update(all_fall_back(Reason.NO_RULE, subject.contract))
        return _outcome(None, None, compose(subject, Origin(None, None, self._revision), {}, problems))

    def rehearse(self, subject: Subject, integration: str, rule: Rule) -> None:
        """Run every template of one rule alone on an alert, whether the rule takes it or not."""
        context = self._context(subject, integration)
        if rule.when is not None:
            self._alone_run(rule.when, self._compiler.condition, context, {})
        if not rule.ready:
            rule.prepare(self.bad)
        self._apart(rule, context, {})

    def _context(self, subject: Subject, integration: str) -> Context:
        names = names_of(subject.alert, subject.group, integration)
        return Context(self._compiler.env, {**self._names, **names}, None, {})

    def _choose_again(self) -> None:
        """Compile the conditions into one template, unless one of them is quarantined."""
        whens = [rule.when for rule in self.rules]
        sound = not any(when is not None and when.place in self.bad for when in whens)
        self._choice = self._compiler.choice(whens) if sound else None
        self._suspect = False  # one of the conditions was slow: run them one by one and time them

    def _choose(self, context: Context, problems: dict[str, FailureReason]) -> Rule | None:
        if self._choice is not None and not self._suspect:
            started = self._clock()
            try:
                chosen = next(iter(self._choice.root_render_func(context)), None)
            except Exception:
                chosen = ""
            self._suspect = self._clock() - started > self._patience
            if chosen != "":
                return None if chosen is None else self.rules[int(chosen)]
        return self._choose_apart(context, problems)

    def _choose_apart(self, context: Context, problems: dict[str, FailureReason]) -> Rule | None:
        known = len(self.bad)
        chosen = None
        for rule in self.rules:
            failed: dict[str, FailureReason] = {}
            if rule.when is None or self._alone_run(rule.when, self._compiler.condition, context, failed):
                chosen = rule
                break
            for reason, detail in failed.values():
                _note(problems, rule.name, reason, detail)
        self._suspect = False
        if len(self.bad) > known:
            self._choose_again()
        return chosen

    def _apply(self, rule: Rule, context: Context, subject: Subject, problems: dict[str, FailureReason]) -> Outcome:
        if rule.drop:
            return Outcome(rule.name, rule.mapping, True, [Fallback(n, *why) for n, why in problems.items()], [], None)
        values = self._fields(rule, context, problems)
        composed = compose(subject, Origin(rule.name, rule.mapping, self._revision), values, problems)
        return _outcome(rule.name, rule.mapping, composed)

    def _fields(self, rule: Rule, context: Context, problems: dict[str, FailureReason]) -> dict[str, str]:
        if not rule.ready:
            rule.prepare(self.bad)
        texts = self._together(rule, context) if rule.live else []
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
        started = self._clock()
        try:
            texts = "".join(rule.fused.root_render_func(context)).split(self._compiler.separator)
        except Exception:
            return None
        rule.suspect = self._clock() - started > self._patience
        return texts if len(texts) == len(rule.live) + 1 else None

    def _apart(self, rule: Rule, context: Context, problems: dict[str, FailureReason]) -> dict[str, str]:
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
        self, part: Part, compile_part: Callable[[Part], Template], context: Context, problems: dict[str, FailureReason]
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
    text = tidy(str(exc)[: 2 * MAX_DETAIL], lines=False) or type(exc).__name__
    return text if len(text) <= MAX_DETAIL else text[: MAX_DETAIL - 1] + "…"


def _note(problems: dict[str, FailureReason], rule: str, reason: Reason, detail: str) -> None:
    """Several conditions may fail before one is true; they share the field `when`."""
    told = f"rule {rule}" + (f": {detail}" if detail else "")
    if WHEN in problems:
        first, before = problems[WHEN]
        reason, told = first, f"{before}; {told}"
    problems[WHEN] = (reason, told[:MAX_DETAIL])


def _outcome(rule: str | None, mapping: str | None, composed: Composed) -> Outcome:
    return Outcome(rule, mapping, False, composed.fallbacks, composed.clipped, composed.body)
