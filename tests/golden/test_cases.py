"""The output of `test` for mapping unit tests that pass and that fail, also as JUnit XML."""

from __future__ import annotations

from pathlib import Path

from tests.golden.normal import SOURCES, place
from tests.golden.recording import same
from tests.golden.terminal import run

FAILING = """\
tests:
  - name: this one passes
    alert: {labels: {alertname: A, severity: critical}, annotations: {summary: s}}
    expect: {alarm: {alarmName: A, alarmLevel: Critical}}
  - name: nothing is as expected
    alert: {labels: {alertname: A, severity: critical}, annotations: {summary: s}}
    expect: {rule: nobody, dropped: true, alarm: {alarmLevel: Info, URL: "https://example.com", applicationId: ""}}
  - name: a drop was not expected
    alert: {labels: {alertname: Watchdog}}
    expect: {alarm: {alarmName: Watchdog}}
"""
BROKEN = """\
tests:
  - name: misspelt
    alert: {label: {alertname: A}}
    expect: {alarm: {alarmNam: A}}
  - name: empty
"""


def test_the_built_in_cases_are_printed_as_recorded() -> None:
    same("cases_shipped.txt", run("test").text(SOURCES))


def test_failing_cases_are_printed_and_written_as_junit_as_recorded(tmp_path: Path) -> None:
    (tmp_path / "cases.yaml").write_text(FAILING)
    outputs = run("test", "--junit=junit.xml", "cases.yaml", folder=tmp_path)
    same("cases_failing.txt", outputs.text(SOURCES, place(tmp_path, "FOLDER")))
    same("cases_failing_junit.xml", (tmp_path / "junit.xml").read_text() + "\n")


def test_cases_that_cannot_be_read_are_printed_as_recorded(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text(BROKEN)
    (tmp_path / "none").mkdir()
    outputs = [
        run("test", "broken.yaml", folder=tmp_path),
        run("test", "missing.yaml", folder=tmp_path),
        run("test", "--mappings=none", folder=tmp_path),
    ]
    same("cases_refusals.txt", "\n".join(ran.text(SOURCES, place(tmp_path, "FOLDER")) for ran in outputs))
