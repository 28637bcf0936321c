"""PURE: decides who may report to the sandbox, by the integration key, the signature or the token it was given."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from adapter.coc.endpoint import AkSk, NoAuth, Token
from adapter.coc.signing import ALGORITHM, DATE_FORMAT, Signer

LARGEST_SKEW = 900.0  # seconds; other services on the same gateway document 15 minutes


class Refusal(NamedTuple):
    """The answer to a caller that may not report."""

    status: int
    code: str
    message: str


NO_TOKEN = Refusal(401, "common.01010001", "Token missing or invalid.")
UNKNOWN_KEY = Refusal(401, "common.01010001", "Token missing or invalid: unknown integration key.")
"""What COC says to an unknown key is not documented; this answer pauses the integration and loses nothing."""

_AUTHORIZATION = re.compile(rf"{ALGORITHM} Access=([^,\s]+), ?SignedHeaders=([^,\s]+), ?Signature=([0-9a-f]{{64}})")
_MUST_BE_SIGNED = frozenset({"host", "x-sdk-date"})


class Auth(NamedTuple):
    """What the sandbox checks. Without a key it takes every key; with NoAuth it asks for no credentials."""

    integration_key: str | None
    auth: AkSk | Token | NoAuth

    def refusal(self, *, key: str, path: str, headers: Mapping[str, str], body: bytes, now: datetime) -> Refusal | None:
        """None for a POST that may report. `headers` must be case-insensitive; `path` is as it stood in the request."""
        refusal = None
        if isinstance(self.auth, Token):
            refusal = None if _same(headers.get("X-Auth-Token", ""), self.auth.token.get()) else NO_TOKEN
        elif isinstance(self.auth, AkSk):
            refusal = _signature(self.auth, path, headers, body, now)
        if refusal is None and self.integration_key is not None and not _same(key, self.integration_key):
            return UNKNOWN_KEY
        return refusal


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def _signature(auth: AkSk, path: str, headers: Mapping[str, str], body: bytes, now: datetime) -> Refusal | None:
    found = _AUTHORIZATION.fullmatch(headers.get("Authorization", ""))
    if found is None:
        return NO_TOKEN
    access_key, names, given = found.groups()
    signed = {name: headers.get(name, "") for name in names.split(";")}
    if not _same(access_key, auth.access_key.get()):
        return _incorrect("access key not found")
    if not signed.keys() >= _MUST_BE_SIGNED:
        return _incorrect("host and x-sdk-date must be signed")
    try:
        date = datetime.strptime(signed["x-sdk-date"], DATE_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return _incorrect("X-Sdk-Date is not a date")
    if abs((now - date).total_seconds()) > LARGEST_SKEW:
        return _incorrect("signature expired, check X-Sdk-Date")
    if any(headers.get(name, "") != value for name, value in auth.headers().items()):
        return _incorrect("project, domain or security token do not fit")
    others = {name: value for name, value in signed.items() if name != "x-sdk-date"}
    signer = Signer(method="POST", path=path, headers=others, access_key=access_key, secret_key=auth.secret_key.get())
    wanted = signer.signature(body, signed["x-sdk-date"])
    return None if _same(given, wanted) else _incorrect("verify aksk signature fail")


def _incorrect(why: str) -> Refusal:
    return Refusal(401, "APIGW.0301", f"Incorrect IAM authentication information: {why}")
