from __future__ import annotations

import pytest

from tests.chart.rendering import CI, Rendered, ci_values, render_all


@pytest.fixture(scope="session")
def renders() -> dict[str, Rendered]:
    """Every ci/ values set, rendered once."""
    renders = dict(zip(CI, render_all([ci_values(name) for name in CI]), strict=True))
    for name, rendered in renders.items():
        assert not rendered.error, f"{name}: {rendered.error}"
    return renders


@pytest.fixture(params=CI)
def rendered(request: pytest.FixtureRequest, renders: dict[str, Rendered]) -> Rendered:
    """One ci/ values set after the other."""
    return renders[request.param]
