"""The short forms of the fault catalogue; `make faults` runs them in full counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.__main__ import finished
from tests.faults.catalogue import CATALOGUE, Case

SHORT = [case for case in CATALOGUE if case.short is not None]
ROWS = (*range(1, 40), 41, 42, 43, *range(51, 57))


@pytest.mark.parametrize("case", SHORT, ids=[f"{case.row} {case.name}" for case in SHORT])
def test_nothing_promised_is_broken_by(case: Case, tmp_path: Path) -> None:
    assert case.short is not None
    result = finished(case.short(tmp_path))
    print(result.figure)
    assert result.violations == ()


def test_every_row_of_the_catalogue_has_a_case() -> None:
    assert {case.row for case in CATALOGUE} == set(ROWS)
