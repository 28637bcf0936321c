"""PURE: what is wrong with a store's URL, before anything is opened by it. No message repeats a part of it."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs, urlsplit

POSTGRES: Final = ("postgresql", "postgres")

_WRITE: Final = "write it like postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
_ESCAPES: Final = "a user or password in it is written with %2F for /, %3F for ?, %23 for #, %40 for @ and so on"


def store_problem(url: str) -> str:
    """One line for the person who wrote it; empty when the URL can be used."""
    scheme, _, rest = url.partition(":")
    if scheme not in ("sqlite", "memory", *POSTGRES):
        return "the store is none of sqlite:PATH, postgresql://... and memory:"
    if "\0" in url:
        return "the store's path holds a character that no path can have"
    if scheme == "sqlite" and not rest:
        return "sqlite: needs the path of a file after it"
    return _postgres_problem(url, rest) if scheme in POSTGRES else ""


def _postgres_problem(url: str, rest: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return f"the store's URL cannot be read; {_WRITE}"
    if not rest.startswith("//"):
        return f"the store's URL has no // behind its scheme; {_WRITE}"
    login, _, place = parts.netloc.rpartition("@")
    if "@" in login + parts.path + parts.fragment or parts.fragment:
        return f"the store's URL cannot be read; {_ESCAPES}"
    ports = [port for host in place.split(",") for port in _ports(host)]
    ports += [port for given in parse_qs(parts.query).get("port", []) for port in given.split(",")]
    if not all(port.isascii() and port.isdigit() and 0 < int(port[:9]) < 65536 for port in ports):
        return f"the port in the store's URL is no number from 1 to 65535; {_WRITE}; {_ESCAPES}"
    return ""


def _ports(host: str) -> list[str]:
    """The port of a host, if any; a colon within brackets is part of an IPv6 address."""
    _, colon, port = host[host.rfind("]") + 1 :].partition(":")
    return [port] if colon else []
