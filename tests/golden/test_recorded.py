"""Every recorded file has a test, and every test its recorded file."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

from tests.golden.recording import RECORDED


def test_every_recorded_file_is_compared_by_a_test_and_every_test_has_one() -> None:
    sources = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    compared = [re.sub(r"\{.*?\}", "*", name) for name in re.findall(r'\bsame\(f?"([^"]+)"', sources)]
    recorded = [path.name for path in RECORDED.iterdir()]
    assert len(recorded) > 30
    assert [name for name in recorded if not any(fnmatch(name, pattern) for pattern in compared)] == []
    assert [pattern for pattern in compared if not any(fnmatch(name, pattern) for name in recorded)] == []
