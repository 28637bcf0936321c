"""Parses listen addresses, and says which of them may be served without credentials."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network


def parse_listen_address(text: str) -> tuple[str | None, int]:
    """`:9876`, `127.0.0.1:9876`, `[::1]:9876`, `localhost:0` -> host and port. Host None means every address.

    ValueError says what is wrong in one line.
    """
    if "://" in text:
        rest = text.partition("://")[2].partition("/")[0]
        rest += "" if ":" in rest else ":PORT"
        raise ValueError(f"{text!r} is not an address to listen on; it is a URL, write the address alone: {rest}")
    host, colon, port = text.rpartition(":")
    valid_host = host.isprintable() and not set(host) & set(" /@")
    valid_port = port.isascii() and port.isdigit() and int(port) <= 65535
    if not (colon and valid_host and valid_port):
        raise ValueError(f"{text!r} is not an address to listen on; write HOST:PORT or :PORT, such as 127.0.0.1:9876")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ":" not in host:
            raise ValueError(f"{text!r} is not an address to listen on; brackets are for IPv6 addresses")
    elif ":" in host:
        raise ValueError(f"{text!r} is not an address to listen on; an IPv6 address needs brackets, such as [::1]:9876")
    return host or None, int(port)


def ip_of(host: str) -> IPv4Address | IPv6Address | None:
    """The address that `host` is, without its zone and as IPv4 where it is mapped; None for a name."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


@lru_cache(1024)
def source_of(remote: str | None) -> str:
    """What clients are counted by: an IPv4 address, or an IPv6 /64, within which a host may choose its address."""
    address = ip_of(remote or "")
    if isinstance(address, IPv6Address):
        return str(ip_network((address, 64), strict=False))
    return str(address or "unknown")


def is_loopback(host: str) -> bool:
    """True for 127.0.0.0/8, ::1 (the mapped form too) and localhost."""
    address = ip_of(host)
    return address.is_loopback if address else host.lower().rstrip(".") == "localhost"


def may_listen(address: str, *, authenticated: bool, allow_unauthenticated: bool) -> str | None:
    """None when `address` may be served, else one line that says why not and what to do."""
    host, _ = parse_listen_address(address)
    if is_loopback(host or "") or authenticated or allow_unauthenticated:
        return None
    return (
        f"{address} can be reached from other machines and nothing asks them who they are: configure basic_auth_users "
        "or client certificates in --web.config.file (for webhooks also webhook.bearer_token_file), listen on "
        "127.0.0.1, or pass --web.allow-unauthenticated"
    )
