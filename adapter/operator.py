"""Operator commands."""
from typing import Any
def add_commands(commands: Any, url: str) -> None:
    pass
