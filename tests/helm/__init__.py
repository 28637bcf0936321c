"""The chart, rendered by the real Helm engine.

`UPDATE_GOLDEN=1 pytest tests/helm` rewrites the golden renders and the README's table.
"""
