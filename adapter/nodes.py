"""PURE: reads nodes as COC's API, our own list of applications and people write them.

Apart from `application`, because the worker process has no use for pydantic's models and starts faster without.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

from pydantic import BaseModel, Field, TypeAdapter

from adapter.application import APPLICATION, LONGEST_WAY, Directories, Directory, Node

Text = Annotated[str, Field(max_length=LONGEST_WAY)]


class NodeModel(BaseModel):
    """A node as COC's API and our own list write it; what else stands there is ignored."""

    id: Annotated[str, Field(min_length=1, max_length=255)]
    name: Text
    code: Text | None = None
    type: Text | None = None
    parent_id: Text | None = None
    path: Text | None = None

    def node(self) -> Node:
        return Node(self.id, self.name, self.code or "", self.type or "", self.parent_id or "", self.path or "")


class _ListedModel(NodeModel):
    integration: str = ""


_LIST: Final = TypeAdapter(list[_ListedModel])


def read_list(text: bytes) -> Directories:
    """What `applications list --output=json` prints; ValueError when it is none."""
    return _directories(_LIST.validate_json(text))


def from_data(data: Any) -> Directories:
    """As `read_list`, from such a list as data or from a table of names and ids."""
    if isinstance(data, dict):
        data = [{"id": str(id_), "name": str(name), "type": APPLICATION} for name, id_ in data.items()]
    return _directories(_LIST.validate_python(data))


def _directories(rows: Sequence[_ListedModel]) -> Directories:
    """Under the empty name the nodes of all integrations."""
    integrations = dict.fromkeys(["", *(row.integration for row in rows)])
    return {
        name: Directory(list(dict.fromkeys(row.node() for row in rows if name in ("", row.integration))))
        for name in integrations
    }
