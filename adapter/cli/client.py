"""Calls of the admin API, for the operator commands."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urlencode, urlsplit

from adapter.errors import AdapterError, Finding
from adapter.secret import Secret

SECONDS: Final = 30.0
PAGE: Final = 1000  # rows


def pages(url: str, path: str, query: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every page of a list."""
    rows: list[dict[str, Any]] = []
    while True:
        after = rows[-1]["id"] if rows else 0
        page = ask(url, "GET", path, query={**query, "limit": PAGE, "after": after})
        rows += page
        if len(page) < PAGE:
            return rows


def ask(
    url: str,
    method: str,
    path: str,
    body: Any = None,
    *,
    query: Mapping[str, Any] | None = None,
    seconds: float = SECONDS,
) -> Any:
    """One call of the admin API; AdapterError says in one line what went wrong and what to try."""
    if query:
        path += "?" + urlencode({name: value for name, value in query.items() if value}, doseq=True)
    url, credentials = _split(url)
    if not _is_usable(url):  # not repeated: without a host, a password stands where its port would
        raise AdapterError("--adapter.url is not a URL; write it like http://127.0.0.1:9877")
    data = json.dumps(body).encode() if body is not None else (b"" if method == "POST" else None)
    request = urllib.request.Request(url.rstrip("/") + path, data=data, method=method)  # noqa: S310 - checked above
    request.add_header("Content-Type", "application/json")
    if credentials:
        request.add_header("Authorization", credentials)
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:  # noqa: S310
            return json.loads(answer.read())
    except urllib.error.HTTPError as exc:
        raise AdapterError(f"{url} answered {exc.code}: {_words(exc.read())}") from exc
    except (OSError, ValueError, HTTPException) as exc:
        reason = getattr(exc, "reason", exc)
        if isinstance(reason, ssl.SSLCertVerificationError):
            advice = "set SSL_CERT_FILE to the PEM file of the authority that signed its certificate"
            raise AdapterError(f"{url} cannot be trusted ({reason.verify_message}); {advice}") from exc
        raise AdapterError(
            f"no adapter answers at {url} ({reason}); --adapter.url must be its admin address (--web.admin-address)"
        ) from exc


def finding_of(found: Mapping[str, Any]) -> Finding:
    """As the API gives it."""
    return Finding(
        found["file"], found["line"], found["column"], found["message"], found["hint"], severity=found["severity"]
    )


def _is_usable(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def with_password(url: str, file: Path) -> str:
    """`http://USER@...` with the password that the file holds."""
    scheme, _, rest = url.partition("://")
    user, at_sign, place = rest.rpartition("@")
    if not at_sign or ":" in user:
        raise AdapterError(
            "--adapter.password-file needs the user's name alone in --adapter.url: http://USER@127.0.0.1:9877"
        )
    try:
        return f"{scheme}://{user}:{quote(Secret(path=file).get(), safe='')}@{place}"
    except ValueError as exc:
        raise AdapterError(f"--adapter.password-file: {exc}") from exc


def _split(url: str) -> tuple[str, str]:
    """The URL without `user:password@`, fit to be shown, and what they make as a header, empty without."""
    scheme, _, rest = url.partition("://")
    login, at_sign, place = rest.rpartition("@")
    if not at_sign:
        return url, ""
    return f"{scheme}://{place}", "Basic " + base64.b64encode(unquote(login).encode()).decode()


def _words(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace").strip()[:200]
