"""Rows that run tests of other folders, with larger counts where those tests allow it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.faults.result import CaseResult, case_result, unless
from tests.stage import REPOSITORY


def existing_tests(*names: str, figure: str = "", **environment: str) -> Callable[[Path], CaseResult]:
    """A row that runs these tests; `figure`: a pattern for a figure in their output."""

    def row(folder: Path) -> CaseResult:
        command = [sys.executable, "-m", "pytest", "-q", "-rP", "-p", "no:cacheprovider", f"--basetemp={folder}/t"]
        command += ["-o", "timeout=1200", *names]
        ran = subprocess.run(
            command, cwd=REPOSITORY, env={**os.environ, **environment}, capture_output=True, text=True, timeout=1800
        )
        counts = re.findall(r"(\d+) (passed|failed|skipped|error)", ran.stdout.splitlines()[-1] if ran.stdout else "")
        figures: dict[str, object] = {f"tests {word}": number for number, word in counts} | dict(environment)
        line = re.search(figure, ran.stdout) if figure else None
        figures |= {line[1]: line[2]} if line else {}
        failed = re.findall(r"^FAILED (.*)$", ran.stdout, re.MULTILINE)
        return case_result(figures, failed, unless(ran.returncode == 0 or bool(failed), f"exit code {ran.returncode}"))

    return row
