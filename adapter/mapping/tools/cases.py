"""`coc-adapter test`: unit tests of mappings, run by the worker that renders in production.

A file of cases is validated as a whole. Nothing is run while there is a finding in the cases or in the mappings.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, TextIO
from xml.etree import ElementTree

from adapter.application import Directories
from adapter.errors import Finding, MappingError
from adapter.files import MAX_PAYLOAD_BYTES, content
from adapter.mapping.render.request import RenderResult
from adapter.mapping.rules.files import SUFFIXES, load
from adapter.mapping.rules.model import RuleSet
from adapter.mapping.tools.case_file import ABSENT, Case, Difference, read_cases
from adapter.mapping.tools.preview import NONE, render_groups
from adapter.mapping.tools.result import rule_of, shown
from adapter.yamlfile import read


class CaseResult(NamedTuple):
    """One case that was run; it passed when there are no differences."""

    file: str
    line: int
    name: str
    rendered: RenderResult
    differences: Sequence[Difference]


async def run_cases(
    directory: Path, files: Sequence[Path], junit: Path | None, out: TextIO, applications: Directories = NONE
) -> int:
    """Run the cases of `files`, of DIR/tests/ when it is empty; 1 unless all pass. `junit`: where to write XML.

    `applications`: for cases that bring none of their own.

    MappingError has the findings of the cases and of the mappings.
    """
    cases = _read(directory, files)
    own = [(case.applications or applications, case.request) for case in cases]
    groups = [[*group] for _, group in groupby(own, key=lambda pair: id(pair[0]))]
    rendered, mappings = await render_groups(
        directory, [(group[0][0], [request for _, request in group]) for group in groups]
    )
    results = [
        CaseResult(case.file, case.line, case.name, result, case.differences(result))
        for case, result in zip(cases, rendered, strict=True)
    ]
    _print_report(results, mappings.rules, out)
    if junit is not None:
        _write_junit(results, junit)
    return 1 if any(result.differences for result in results) else 0


def _read(directory: Path, files: Sequence[Path]) -> list[Case]:
    folder = directory / "tests"
    cases: list[Case] = []
    findings: list[Finding] = []
    for path in files or sorted(
        path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES and path.is_file()
    ):
        found, problems = read_cases(read(path), partial(_payload, path.parent))
        cases += found
        findings += problems
    if not cases and not findings:
        findings.append(Finding(str(folder), 0, 0, "no test cases here", "write tests/NAME.yaml"))
    if findings:
        try:
            load(directory)
        except MappingError as exc:
            findings += exc.findings
        raise MappingError(findings)
    return cases


def _payload(folder: Path, name: str) -> bytes:
    return content(folder / name, MAX_PAYLOAD_BYTES)


def _print_report(results: Sequence[CaseResult], rules: RuleSet, out: TextIO) -> None:
    for file, group in groupby(results, key=lambda result: result.file):
        print(file, file=out)
        for result in group:
            print(f"  {'FAIL' if result.differences else 'PASS'}  {result.name}", file=out)
            if result.differences:
                print(*_details(result), sep="\n", file=out)
    failed = sum(bool(result.differences) for result in results)
    print(file=out)
    _print_coverage(results, rules, out)
    print(f"{len(results) - failed} passed, {failed} failed", file=out)


def _details(result: CaseResult) -> list[str]:
    """The differences of one case, the two values of each field below one another."""
    rendered = result.rendered
    lines = []
    for field, expected, got in result.differences:
        lines.append(f"          {field}")
        lines.append(f"            - expected  {_shown(expected)}")
        lines.append(f"            + got       {_shown(got)}")
    outcome = "dropped" if rendered.dropped else "rendered"
    lines.append(f"        {outcome} by {rule_of(rendered)}; the case is {result.file}:{result.line}")
    lines += [f"        {field} fell back: {why}" for field, why in rendered.fallbacks.items()]
    return lines


def _shown(value: Any) -> str:
    return "(nothing)" if value in ABSENT else shown(value)


def _print_coverage(results: Sequence[CaseResult], rules: RuleSet, out: TextIO) -> None:
    reached = {(result.rendered.mapping, result.rendered.rule) for result in results}
    every = [(file, rule) for file in rules.files for rule in file.rules]
    missed = [(file, rule) for file, rule in every if (file.name, rule.name) not in reached]
    print(f"{len(every) - len(missed)} of {len(every)} rules are reached by a case", file=out)
    for file, rule in missed:
        line = file.source.mark((*rule.loc, "name")).line
        print(f"  {file.source.name}:{line}: no case reaches rule {rule.name}", file=out)


def _write_junit(results: Sequence[CaseResult], path: Path) -> None:
    """JUnit XML for build servers: a suite per file, a failure element per failed case."""
    root = ElementTree.Element("testsuites", {"name": "coc-adapter test", **_counts(results)})
    for file, group in groupby(results, key=lambda result: result.file):
        suite_results = list(group)
        suite = ElementTree.SubElement(root, "testsuite", {"name": file, **_counts(suite_results)})
        for result in suite_results:
            attributes = {"name": result.name, "classname": Path(file).stem, "file": file}
            case = ElementTree.SubElement(suite, "testcase", attributes, line=str(result.line))
            if result.differences:
                fields = ", ".join(field for field, *_ in result.differences)
                failure = ElementTree.SubElement(case, "failure", message=f"not as expected: {fields}")
                failure.text = "\n".join(_details(result))
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _counts(results: Sequence[CaseResult]) -> dict[str, str]:
    failed = sum(bool(result.differences) for result in results)
    return {"tests": str(len(results)), "failures": str(failed), "errors": "0", "skipped": "0"}
