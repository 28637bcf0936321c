"""PURE: Huawei Cloud's request signature SDK-HMAC-SHA256, as the official SDK makes it. The time is given in.

canonical request = method, path (each segment percent-encoded, always ending in `/`), query, `name:value` of each
signed header, names joined by `;`, hex SHA-256 of the body; string to sign = algorithm, time, hex SHA-256 of that.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, unquote

from adapter.secret import Secret

ALGORITHM = "SDK-HMAC-SHA256"
DATE_FORMAT = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class AkSk:
    """An access key pair, permanent or temporary (then with its security token), and the scope it acts in."""

    access_key: Secret
    secret_key: Secret
    security_token: Secret | None = None
    project_id: str = ""
    domain_id: str = ""  # instead of a project, for global credentials

    def scope_headers(self) -> dict[str, str]:
        """The headers besides the date that say who asks; all of them are signed."""
        found = {"X-Project-Id": self.project_id, "X-Domain-Id": self.domain_id}
        if self.security_token is not None:
            found["X-Security-Token"] = self.security_token.get()
        return {name: value for name, value in found.items() if value}


def canonical_path(path: str) -> str:
    """`/v1/a%20b` -> `/v1/a%20b/`: as the gateway sees it, a slash inside a segment included."""
    encoded = "/".join(quote(segment, safe="~") for segment in unquote(path).split("/"))
    return encoded if encoded.endswith("/") else encoded + "/"


def sign(
    *, method: str, path: str, headers: Mapping[str, str], body: bytes, access_key: str, secret_key: str, at: datetime
) -> dict[str, str]:
    """X-Sdk-Date and Authorization for a request without a query. Every one of `headers` is signed; give Host too."""
    date = at.astimezone(UTC).strftime(DATE_FORMAT)
    names, signature = signature_of(
        method=method, path=path, headers={**headers, "X-Sdk-Date": date}, body=body, secret_key=secret_key
    )
    return {
        "X-Sdk-Date": date,
        "Authorization": f"{ALGORITHM} Access={access_key}, SignedHeaders={names}, Signature={signature}",
    }


def signature_of(
    *, method: str, path: str, headers: Mapping[str, str], body: bytes, secret_key: str
) -> tuple[str, str]:
    """(the signed header names joined by `;`, the signature in hex). X-Sdk-Date must be among the headers."""
    signed = sorted((name.lower(), value.strip()) for name, value in headers.items())
    names = ";".join(name for name, _ in signed)
    lines = "".join(f"{name}:{value}\n" for name, value in signed)
    request = f"{method}\n{canonical_path(path)}\n\n{lines}\n{names}\n{_digest(body)}"
    text = f"{ALGORITHM}\n{dict(signed)['x-sdk-date']}\n{_digest(request.encode())}"
    return names, hmac.new(secret_key.encode(), text.encode(), hashlib.sha256).hexdigest()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
