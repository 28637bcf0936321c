"""`coc-adapter test`: mapping unit tests, run through the very child that renders in production."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, TextIO

from adapter.errors import Finding, MappingError
from adapter.mapping.render.live import LiveMappings
from adapter.mapping.render.request import RenderResult
from adapter.mapping.rules.files import SUFFIXES, load
from adapter.mapping.tools.case_file import Case, read_cases
from adapter.mapping.tools.case_report import Difference, Verdict, print_report, write_junit
from adapter.mapping.tools.preview import flat, job_of, print_findings

_ABSENT: Final = ("", None)


async def run_cases(directory: Path, files: Sequence[Path], junit: Path | None, out: TextIO) -> int:
    """Run the cases of `files`, or of DIR/tests/ when none are named; 1 unless all pass. `junit`: XML goes there."""
    cases: list[Case] = []
    findings: list[Finding] = []
    for path in files or _beside(directory):
        read, wrong = read_cases(path)
        cases += read
        findings += wrong
    if not cases and not findings:
        findings.append(Finding(str(directory / "tests"), 0, 0, "no test cases here", "write tests/NAME.yaml"))
    findings += _of_mappings(directory) if findings else []
    if findings:
        print_findings(sorted(findings), out)
        return 1
    try:
        mappings = await LiveMappings.open(directory)
    except MappingError as exc:
        print_findings(exc.findings, out)
        return 1
    try:
        rendered = await mappings.render([job_of(case.alert, case.group, case.integration) for case in cases])
        ruleset = mappings.rules
    finally:
        await mappings.close()
    verdicts = [Verdict(case, made, differences(case, made)) for case, made in zip(cases, rendered, strict=True)]
    print_report(verdicts, ruleset, out)
    if junit is not None:
        write_junit(verdicts, junit)
    return 1 if any(verdict.differences for verdict in verdicts) else 0


def _beside(directory: Path) -> list[Path]:
    return sorted(path for path in (directory / "tests").glob("*") if path.suffix in SUFFIXES and path.is_file())


def _of_mappings(directory: Path) -> Sequence[Finding]:
    try:
        load(directory)
    except MappingError as exc:
        return exc.findings
    return ()


def differences(case: Case, made: RenderResult) -> list[Difference]:
    """What is not as the case says; what it does not name may be anything."""
    got = flat(made) | {
        "fallbacks": sorted(field for field, *_ in made.fallbacks),
        "clipped": sorted(made.clipped),
    }
    found = []
    for field, expected in case.expected.items():
        actual = got.get(field)
        same = actual in _ABSENT if expected in _ABSENT else actual == expected
        if not same:
            found.append(Difference(field, expected, actual))
    return found
