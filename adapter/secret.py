"""A secret by value or by file. It prints as `<secret>` wherever it ends up, and a rotated file needs no restart."""

from __future__ import annotations

from pathlib import Path

from adapter.errors import AdapterError


class Secret:
    """Text that must not be seen. A file's trailing line end is not part of it."""

    def __init__(self, *, value: str = "", path: Path | None = None) -> None:
        """OSError or UnicodeDecodeError when the file cannot be read; ValueError when it is empty."""
        self.path = path
        self._value = value if path is None else _read(path)

    def get(self) -> str:
        return self._value

    def refresh(self) -> bool:
        """Read the file again; True when the secret changed. An unreadable or empty file leaves it as it was."""
        if self.path is None:
            return False
        try:
            value = _read(self.path)
        except (OSError, ValueError):
            return False
        changed, self._value = value != self._value, value
        return changed

    def __repr__(self) -> str:
        return "<secret>"

    __str__ = __repr__

    def __reduce__(self) -> tuple[object, ...]:
        raise AdapterError("a secret is not to be serialised")


def _read(path: Path) -> str:
    value = path.read_text(encoding="utf-8").strip("\r\n")
    if not value:
        raise ValueError(f"{path} is empty")
    return value
