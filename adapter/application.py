"""PURE: COC's applications, components and groups as one integration sees them, and which of them a text names.

A text is compared without its case and the blanks around it, first with the ids, then with the names of applications
and sub-applications, then with their codes, then with the way of any node: the names from its application on, joined
by slashes (`Shop / Frontend / prod`). A text that names two nodes is ambiguous.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple, Self

from pydantic_core import from_json, to_json

APPLICATION: Final = "application"  # the type of sub-applications too; the others are component and group
_ID: Final = re.compile("[0-9a-f-]{12,36}")
DEEPEST: Final = 32  # nodes on a way, those nearest to the node
LONGEST_WAY: Final = 1000  # characters
_AMBIGUOUS: Final = ""


class Node(NamedTuple):
    """One application, sub-application, component or group. A node in several places has a record for each."""

    id: str
    name: str
    code: str = ""
    type: str = ""
    parent_id: str = ""
    path: str = ""  # the ids of the nodes above it and its own, joined by dots


class Lookup(StrEnum):
    """What a text was to a directory. A closed list: it is a metric label."""

    ID = "id"
    NAME = "name"
    UNKNOWN = "unknown"
    AMBIGUOUS = "ambiguous"


def is_id(text: str) -> bool:
    """Whether a text has the shape of an id of COC's: 12 to 36 of `0-9a-f-`."""
    return _ID.fullmatch(text) is not None


class Index:
    """What a directory knows of ids and names, as plain data for the worker process."""

    def __init__(self, shown: Mapping[str, str], ids: Mapping[str, str]) -> None:
        """`shown`: id -> name, or way of a component or group; `ids`: folded text -> id, or empty when ambiguous."""
        self.shown, self._ids = shown, ids

    @classmethod
    def unpack(cls, packed: bytes) -> Self | None:
        """The result of `pack`; None for `null`."""
        both = from_json(packed)
        return cls(*both) if both else None

    def pack(self) -> bytes:
        return to_json([self.shown, self._ids])

    def find(self, text: str) -> tuple[str, Lookup]:
        """The id of the node that a text names, empty when it names none or several."""
        text = text.strip()
        if text in self.shown:
            return text, Lookup.ID
        folded = text.casefold()
        found = self._ids.get(folded)
        if found is None and "/" in folded:
            found = self._ids.get(_spaced(folded))
        if found:
            return found, Lookup.NAME
        return "", Lookup.UNKNOWN if found is None else Lookup.AMBIGUOUS


def find(index: Index | None, text: str) -> tuple[str, Lookup]:
    """As Index.find. Without a directory what is shaped like an id passes through and names are unknown."""
    if index is not None:
        return index.find(text)
    text = text.strip()
    return (text, Lookup.ID) if is_id(text) else ("", Lookup.UNKNOWN)


class Directory:
    """The nodes that one integration sees, with the way of each. Takes some 50 ms for 10,000 nodes."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = tuple(nodes)
        names = {node.id: node.name for node in reversed(self.nodes)}
        parents = {node.id: node.parent_id for node in reversed(self.nodes)}
        self.ways = tuple(_way(node, names, parents) for node in self.nodes)
        self.index = _index(self.nodes, self.ways)

    def __len__(self) -> int:
        return len(self.index.shown)

    @property
    def names(self) -> Iterator[str]:
        """Of applications and sub-applications."""
        return (node.name for node in self.nodes if _is_application(node))

    def named(self, text: str) -> list[str]:
        """The ways of the nodes that have a text as name, code or way."""
        key = _folded(text)
        both = zip(self.nodes, self.ways, strict=True)
        return [way for node, way in both if key in map(_folded, (node.name, node.code, way))]

    def matching(self, text: str) -> list[tuple[Node, str]]:
        """The nodes with the text in id, name, code or way, in any case, with their ways, by way."""
        wanted = text.strip().casefold()
        both = sorted(zip(self.nodes, self.ways, strict=True), key=lambda pair: (pair[1], pair[0]))
        return [
            (node, way)
            for node, way in both
            if not wanted or any(wanted in part.casefold() for part in (node.id, node.name, node.code, way))
        ]

    def pack(self) -> bytes:
        """The nodes as JSON, for a store."""
        return to_json(self.nodes)

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """The result of `pack`; ValueError for anything else."""
        rows = from_json(packed)
        if not isinstance(rows, list) or not all(map(_is_row, rows)):
            raise ValueError("no list of nodes")
        return cls([Node(*row) for row in rows])


Directories = Mapping[str, Directory]
"""By integration. That under the empty name is for integrations that are not named."""


def _is_row(row: Any) -> bool:
    return isinstance(row, list) and len(row) == len(Node._fields) and all(isinstance(text, str) for text in row)


def _is_application(node: Node) -> bool:
    return node.type.strip().casefold() == APPLICATION


def _folded(text: str) -> str:
    text = text.strip().casefold()
    return _spaced(text) if "/" in text else text


def _spaced(text: str) -> str:
    return " / ".join(part.strip() for part in text.split("/"))


def _way(node: Node, names: Mapping[str, str], parents: Mapping[str, str]) -> str:
    """The names from the application on. Nodes that COC does not show to this account are left out."""
    ids = node.path.split(".")[-DEEPEST:] if node.path else []
    if ids[-1:] != [node.id]:
        ids.append(node.id)
    if len(ids) == 1:
        ids = list(_upwards(node, parents))[::-1]
    return " / ".join(name for name in (names.get(id_, "").strip() for id_ in ids) if name)[:LONGEST_WAY]


def _upwards(node: Node, parents: Mapping[str, str]) -> Iterable[str]:
    """The ids from a node to its application; a chain that leads back ends."""
    seen: set[str] = set()
    id_ = node.id
    while id_ and id_ not in seen and len(seen) < DEEPEST:
        seen.add(id_)
        yield id_
        id_ = parents.get(id_, "")


def _index(nodes: Sequence[Node], ways: Sequence[str]) -> Index:
    applications = [node for node in nodes if _is_application(node)]
    by_way = _tier((way, node.id) for node, way in zip(nodes, ways, strict=True))
    by_code = _tier((node.code, node.id) for node in applications)
    by_name = _tier((node.name, node.id) for node in applications)
    shown: dict[str, str] = {}
    for node, way in zip(nodes, ways, strict=True):
        shown.setdefault(node.id, (node.name if _is_application(node) else way).strip())
    return Index(shown, by_way | by_code | by_name)


def _tier(texts: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Folded text -> id; empty where two nodes have the same text."""
    found: dict[str, str] = {}
    for text, id_ in texts:
        if key := _folded(text):
            found[key] = id_ if found.get(key, id_) == id_ else _AMBIGUOUS
    return found
