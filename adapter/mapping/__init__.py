"""Mapping files: `rules` reads them, `template` checks a template, `render` runs them, `tools` previews and tests.

`draft` tries what a person typed over them, in a process of its own.
"""

from __future__ import annotations

from pathlib import Path


def shipped() -> Path:
    """The mappings that are used when none are configured: in the installed package, else in the repository."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "mappings"
    return installed if installed.is_dir() else package.parent / "mappings"
