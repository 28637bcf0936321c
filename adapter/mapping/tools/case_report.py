"""What a person and a build server read about a run of mapping unit tests."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, TextIO
from xml.etree import ElementTree

from adapter.mapping.render.request import RenderResult
from adapter.mapping.rules.model import RuleSet
from adapter.mapping.tools.case_file import Case


class Difference(NamedTuple):
    """One field that is not as expected; None is absent."""

    field: str
    expected: Any
    got: Any


class Verdict(NamedTuple):
    """One case that was run; passed when there are no differences."""

    case: Case
    rendered: RenderResult
    differences: Sequence[Difference]


def print_report(verdicts: Sequence[Verdict], rules: RuleSet, out: TextIO) -> None:
    for file, group in groupby(verdicts, key=lambda verdict: verdict.case.file):
        print(file, file=out)
        for verdict in group:
            print(f"  {'FAIL' if verdict.differences else 'PASS'}  {verdict.case.name}", file=out)
            if verdict.differences:
                print(*_details(verdict), sep="\n", file=out)
    failed = sum(bool(verdict.differences) for verdict in verdicts)
    print(file=out)
    _print_coverage(verdicts, rules, out)
    print(f"{len(verdicts) - failed} passed, {failed} failed", file=out)


def _details(verdict: Verdict) -> list[str]:
    """The differences of one case, the values of each field below one another."""
    case, made = verdict.case, verdict.rendered
    lines = []
    for field, expected, got in verdict.differences:
        lines.append(f"          {field}")
        lines.append(f"            - expected  {_shown(expected)}")
        lines.append(f"            + got       {_shown(got)}")
    by = f"rule {made.rule} of {made.mapping}" if made.rule is not None else "no rule"
    lines.append(f"        {'dropped' if made.dropped else 'rendered'} by {by}; the case is {case.file}:{case.line}")
    for field, reason, detail in made.fallbacks:
        lines.append(f"        {field} fell back: {reason}" + (f" ({detail})" if detail else ""))
    return lines


def _print_coverage(verdicts: Sequence[Verdict], rules: RuleSet, out: TextIO) -> None:
    reached = {(verdict.rendered.mapping, verdict.rendered.rule) for verdict in verdicts}
    every = [(file, rule) for file in rules.files for rule in file.rules]
    missed = [(file, rule) for file, rule in every if (file.name, rule.name) not in reached]
    print(f"{len(every) - len(missed)} of {len(every)} rules are reached by a case", file=out)
    for file, rule in missed:
        line = file.source.mark((*rule.loc, "name")).line
        print(f"  {file.source.name}:{line}: no case reaches rule {rule.name}", file=out)


def _shown(value: Any) -> str:
    if value in (None, ""):
        return "(nothing)"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def write_junit(verdicts: Sequence[Verdict], path: Path) -> None:
    """The form build servers read: a suite per file, a failure element per failed case."""
    root = ElementTree.Element("testsuites", {"name": "coc-adapter test", **_counts(verdicts)})
    for file, grouped in groupby(verdicts, key=lambda verdict: verdict.case.file):
        group = list(grouped)
        suite = ElementTree.SubElement(root, "testsuite", {"name": file, **_counts(group)})
        for verdict in group:
            case = ElementTree.SubElement(
                suite,
                "testcase",
                name=verdict.case.name,
                classname=Path(file).stem,
                file=file,
                line=str(verdict.case.line),
            )
            if verdict.differences:
                fields = ", ".join(difference.field for difference in verdict.differences)
                failure = ElementTree.SubElement(case, "failure", message=f"not as expected: {fields}")
                failure.text = "\n".join(_details(verdict))
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _counts(verdicts: Sequence[Verdict]) -> dict[str, str]:
    failed = sum(bool(verdict.differences) for verdict in verdicts)
    return {"tests": str(len(verdicts)), "failures": str(failed), "errors": "0", "skipped": "0"}
