"""One cluster of Alertmanagers as adapter.yml describes it: who it is, how it is reached, what may be done about it.

Plain data; opens no connection.
"""

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from yarl import URL

from adapter.clock import Micros
from adapter.coc.endpoint import environment_proxy, file_contents, tls_context
from adapter.secret import Secret


class Mode(StrEnum):
    """How far reconciling goes; each does what those before it do."""

    OFF = "off"
    OBSERVE = "observe"  # looks and shows
    CLOSE = "close"  # sends an `ok` for what is gone
    REPAIR = "repair"  # opens what no webhook brought


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When absence is evidence, and how much may be done about it. Durations in microseconds."""

    mode: Mode = Mode.OBSERVE
    absent_polls: int = 5
    grace: Micros
    settle: Micros
    max_close: int = 20
    adopt_after: Micros
    refresh_interval: Micros  # 0: never
    close_unrouted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Its members share silences and the notification log, and each is asked by its own address."""

    name: str
    members: tuple[str, ...] = ()  # URLs
    dns: str = ""  # or a URL of whose host name every address is a member
    external_urls: tuple[str, ...] = ()
    integrations: tuple[str, ...]
    receivers: tuple[str, ...] = ()  # empty: those that sent its webhooks
    watchdog: Mapping[str, str] = field(default_factory=dict)
    rules: Rules
    interval: float = 60.0  # seconds, as is the next
    timeout: float = 10.0
    max_body: int = 64 * 1024 * 1024
    username: str = ""
    password: Secret | None = None
    scheme: str = ""  # of the header Authorization
    credentials: Secret | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name: str = ""
    proxy_url: Secret | None = None
    trust_env: bool = False

    @property
    def addresses(self) -> tuple[str, ...]:
        """URLs by which it is known without asking anybody."""
        return self.members or (self.dns,)

    @property
    def origins(self) -> frozenset[str]:
        """External URLs of webhooks that belong to it, in one spelling."""
        return frozenset(map(spelled, (*self.external_urls, *self.addresses)))

    def request_headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", **self.headers}
        if self.password is not None:
            login = f"{self.username}:{self.password.get()}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(login).decode()}"
        elif self.credentials is not None:
            headers["Authorization"] = f"{self.scheme} {self.credentials.get()}"
        return headers

    def proxy(self, url: URL) -> str | None:
        given = self.proxy_url.get() if self.proxy_url else ""
        return given or (environment_proxy(url) if self.trust_env else None) or None

    def refresh(self) -> None:
        """Read secret files again."""
        for secret in (self.password, self.credentials, self.proxy_url):
            if secret is not None:
                secret.refresh()

    def tls_context(self) -> ssl.SSLContext:
        """EndpointProblem when a file of tls_config cannot be used."""
        return tls_context(self.ca_file, self.cert_file, self.key_file)

    def tls_files(self) -> tuple[bytes, ...]:
        """What the files of tls_config hold now, to notice a change."""
        return file_contents(self.ca_file, self.cert_file, self.key_file)


def spelled(url: str) -> str:
    """A URL in the spelling by which two are compared: scheme and host in lower case, no default port, no end slash."""
    try:
        parsed = URL(url.strip())
        port = "" if parsed.is_default_port() or not parsed.explicit_port else f":{parsed.explicit_port}"
        host = (parsed.host or "").lower()
    except ValueError:
        return url
    if not host:
        return url
    host = f"[{host}]" if ":" in host else host
    return f"{parsed.scheme.lower()}://{host}{port}{parsed.raw_path.rstrip('/')}"


def unquoted(receiver: str) -> str:
    """A receiver's name: webhooks carry it quoted as a regular expression."""
    return re.sub(r"\\(.)", r"\1", receiver, flags=re.DOTALL)


def quoted(receiver: str) -> str:
    """The reverse, as Go's regexp.QuoteMeta does it."""
    return re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", receiver)
