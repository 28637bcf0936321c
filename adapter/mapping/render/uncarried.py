"""PURE: the labels and annotations of an alert that its alarm does not carry, so that none is lost.

A field carries a value that its template reads when the field equals it; alarmDesc and what reads all labels also when
they hold it within; alarmLevel also when it is the level of that word. The rest goes into `additional`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from adapter.coc.fields import ADDITIONAL, BY_NAME, clip, tidy
from adapter.mapping.rules.filters import SEVERITY_LABELS, known_level

MOST: Final = 40  # names
MOST_BYTES: Final = 8 * 1024  # of names and values in UTF-8
MORE: Final = "more"  # the key that says how many were left out

_KEY_UNITS: Final = 100
_TAKEN: Final = frozenset(("", *BY_NAME, ADDITIONAL, MORE))


class Readers(NamedTuple):
    """The fields whose templates read a label, or an annotation: by its name, and those that read all."""

    by_name: Mapping[str, tuple[str, ...]]
    of_all: tuple[str, ...] = ()


class Reads(NamedTuple):
    labels: Readers
    annotations: Readers


BUILT_IN: Final = Reads(
    Readers(
        {"alertname": ("alarmName",), "namespace": ("nameSpace",), "job": ("nameSpace",)}
        | dict.fromkeys(SEVERITY_LABELS, ("alarmLevel",))
    ),
    Readers(dict.fromkeys(("description", "summary", "message"), ("alarmDesc",)) | {"severity": ("alarmLevel",)}),
)
"""The built-in values; a field that holds one by another way holds it too."""


def reads_of(fields: Mapping[str, Iterable[tuple[str, str | None]]]) -> Reads:
    """What the templates of a rule read, from what each field reads: see language.texts_read."""
    return Reads(_readers(fields, "labels", BUILT_IN.labels), _readers(fields, "annotations", BUILT_IN.annotations))


def _readers(fields: Mapping[str, Iterable[tuple[str, str | None]]], of: str, built_in: Readers) -> Readers:
    by_name = dict(built_in.by_name)
    of_all: list[str] = []
    for field, read in fields.items():
        for texts, name in read:
            if texts == of and name is None:
                of_all.append(field)
            elif texts == of and name is not None:
                by_name[name] = (*by_name.get(name, ()), field)
    return Readers(by_name, tuple(of_all))


def uncarried(
    alert: Mapping[str, Any], reads: Reads, texts: Mapping[str, str], taken: Mapping[str, str]
) -> dict[str, str]:
    """What `additional` gets beside `taken`, its own keys. `texts`: each field of the body as COC can read it."""
    found: dict[str, str] = {}
    left_out = 0
    left = MOST_BYTES
    for prefix, values, (by_name, of_all) in (
        ("label.", alert["labels"], reads.labels),
        ("annotation.", alert["annotations"], reads.annotations),
    ):
        for name, value in values.items():
            text = value.strip() if value.isprintable() else tidy(value, lines=True)
            fields = by_name.get(name, of_all)
            if not text or (fields and _carried(text, fields, of_all, texts)) or taken.get(name) == text:
                continue
            key, size = _key(name)
            if key in taken or key in found or key in _TAKEN:
                key, size = _key(prefix + name)
            size += len(text) if text.isascii() else len(text.encode())
            if size > left or len(found) == MOST or key in taken or key in found:
                left_out += 1
                continue
            found[key] = text
            left -= size
    if left_out and MORE not in taken:
        found[MORE] = str(left_out)
    return found


@lru_cache(maxsize=10_000)
def _key(name: str) -> tuple[str, int]:
    """A key of `additional` on one line, with its length in bytes."""
    key = clip(tidy(name, lines=False), _KEY_UNITS)
    return key, len(key.encode())


def _carried(text: str, fields: Iterable[str], of_all: Iterable[str], texts: Mapping[str, str]) -> bool:
    for field in fields:
        given = texts.get(field)
        if given == text or (given and field == "alarmDesc" and text in given):
            return True
        if field == "alarmLevel" and known_level(text) == given:
            return True
    return any(text in texts.get(field, "") for field in of_all)
