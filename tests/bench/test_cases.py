"""The cases of the benchmark work. No test asserts speed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.payloads import alert
from bench.relay import compute, render

ROOT = Path(__file__).resolve().parents[2]


def test_cases_that_use_every_script_have_figures_in_a_smoke_run(tmp_path: Path) -> None:
    cases, report = ["B1", "B3", "B4", "B9", "B11", "M1"], tmp_path / "figures.json"
    command = ["-m", "bench", "--smoke", "--repeats=1", f"--only={','.join(cases)}", f"--json={report}"]
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    figures = json.loads(report.read_text())["figures"]
    assert {figure["case"] for figure in figures} == set(cases)
    assert [figure["verdict"] for figure in figures if figure["goal"] == "= 1"] == ["pass"]


@pytest.mark.parametrize("firing", [True, False])
def test_the_scripts_send_the_same_fields_with_and_without_templates(firing: bool) -> None:
    received = json.loads(alert(7, firing=firing))
    rendered, computed = render(received), compute(received)
    assert rendered.pop("time") <= computed.pop("time")
    assert rendered == computed


def test_a_smoke_run_is_not_written_into_the_page() -> None:
    command = [sys.executable, "-m", "bench", "--smoke", "--write"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "--write needs" in done.stderr
