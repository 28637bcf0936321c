"""What a page knows of the request it answers, and the operations of the admin API that it may run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from adapter.admin.openapi import Answer, Call, Operation
from adapter.console.language import Language


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request to the console, by `user` where the listener asks for one."""

    language: Language
    now: datetime
    operations: Mapping[str, Operation]  # by method and path, such as "GET /api/v1/status"
    path: Mapping[str, str]
    query: Mapping[str, Sequence[str]]
    form: Mapping[str, str]
    user: str | None
    host: str  # as the browser named it, with the port
    secure: bool
    webhook_port: int
    reconciles: bool
    read_only: bool

    def one(self, name: str) -> str:
        """The first value of a query parameter; empty where there is none."""
        return next(iter(self.query.get(name, ())), "")

    async def ask(
        self,
        name: str,
        *,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, Sequence[str]] | None = None,
        body: Mapping[str, Any] | bytes | None = None,
    ) -> Answer:
        """Run an operation, named by its method and path, as this user. Problem when it cannot be done."""
        operation = self.operations[name]
        takes = operation.takes
        if takes is not None and takes is not bytes and not isinstance(body, bytes):
            taken: Any = takes.model_validate(body or {})  # type: ignore[union-attr]
        else:
            taken = body
        return await operation.perform(Call(path or {}, query or {}, taken, self.user))
