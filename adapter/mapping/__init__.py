"""The mapping workshop: an SRE's files -> rules -> bodies, rendered in a child process that may be killed."""

from __future__ import annotations

from pathlib import Path


def shipped() -> Path:
    """The mappings that serve when none are configured: inside the installed package, else the repository's own."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "mappings"
    return installed if installed.is_dir() else package.parent / "mappings"
