"""PURE: Huawei Cloud's request signature SDK-HMAC-SHA256, as the official SDK computes it. The caller gives the time.

canonical request = method, path (each segment percent-encoded, always ending in `/`), query, `name:value` of each
signed header, names joined by `;`, hex SHA-256 of the body; string to sign = algorithm, time, hex SHA-256 of that.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote, unquote

ALGORITHM = "SDK-HMAC-SHA256"
DATE_FORMAT = "%Y%m%dT%H%M%SZ"


def canonical_path(path: str) -> str:
    """`/v1/a%20b` -> `/v1/a%20b/`: as the gateway sees it, a slash inside a segment included."""
    encoded = "/".join(quote(segment, safe="~") for segment in unquote(path).split("/"))
    return encoded if encoded.endswith("/") else encoded + "/"


def canonical_query(query: Mapping[str, str]) -> str:
    """By name, each percent-encoded: what is signed, and what stands in the request line."""
    return "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in sorted(query.items()))


class Signer:
    """Signs requests that differ in body and time alone. Every one of `headers` is signed; give Host too."""

    def __init__(
        self,
        *,
        method: str,
        path: str,
        headers: Mapping[str, str],
        access_key: str,
        secret_key: str,
        query: Mapping[str, str] | None = None,
    ) -> None:
        """`path` as it stands in the request line; `query` before it is encoded."""
        lines = {name.lower(): value.strip() for name, value in headers.items()} | {"x-sdk-date": "\n"}
        names = ";".join(sorted(lines))
        text = "".join(f"{name}:{lines[name]}\n" for name in sorted(lines))
        # No header can hold a line end, so the one in place of the date tells where it goes.
        before, _, after = text.partition("\n\n")
        self._before = f"{method}\n{canonical_path(path)}\n{canonical_query(query or {})}\n{before}"
        self._after = f"\n{after}\n{names}\n"
        self._secret_key = secret_key.encode()
        self._said = f"{ALGORITHM} Access={access_key}, SignedHeaders={names}, Signature="

    def headers(self, body: bytes, at: datetime) -> dict[str, str]:
        date = at.astimezone(UTC).strftime(DATE_FORMAT)
        return {"X-Sdk-Date": date, "Authorization": self._said + self.signature(body, date)}

    def signature(self, body: bytes, date: str) -> str:
        request = f"{self._before}{date}{self._after}{hashlib.sha256(body).hexdigest()}"
        text = f"{ALGORITHM}\n{date}\n{hashlib.sha256(request.encode()).hexdigest()}"
        return hmac.digest(self._secret_key, text.encode(), "sha256").hex()

    def __repr__(self) -> str:
        return "<Signer>"
