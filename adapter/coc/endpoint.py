"""How one integration reaches COC: URL, credentials, TLS, proxy. Plain data; opens no connection."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from urllib.parse import quote
from urllib.request import getproxies, proxy_bypass

from yarl import URL

from adapter.coc.verdict import Reason
from adapter.files import MAX_BYTES, content
from adapter.secret import Secret

SITES = {
    "cn": "https://coc.myhuaweicloud.com",
    "intl": "https://coc-intl.myhuaweicloud.com",
    "eu": "https://coc-eu-west-101-open-api.myhuaweicloud.eu",
}
"""COC is one endpoint per site, not per region. Source: the official SDK's region table."""

PATH = "/v1/event/huawei/custom/"
APPLICATIONS_PATH = "/v1/application-view/search"


class EndpointProblem(Exception):
    """No request can be made with these settings. The message names the setting and holds no secret."""

    def __init__(self, message: str, hint: str, reason: Reason = Reason.ENDPOINT) -> None:
        super().__init__(message)
        self.hint, self.reason = hint, reason


@dataclass(frozen=True, slots=True, kw_only=True)
class AkSk:
    """An access key pair, permanent or temporary (then with its security token), and the scope it acts in."""

    access_key: Secret
    secret_key: Secret
    security_token: Secret | None = None
    project_id: str = ""
    domain_id: str = ""  # instead of a project, for global credentials

    def secrets(self) -> tuple[Secret | None, ...]:
        return self.access_key, self.secret_key, self.security_token

    def headers(self) -> dict[str, str]:
        """The headers besides the date that say who asks; all of them are signed."""
        token = self.security_token.get() if self.security_token else ""
        named = {"X-Project-Id": self.project_id, "X-Domain-Id": self.domain_id, "X-Security-Token": token}
        return {name: value for name, value in named.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An IAM token of project scope, valid for 24 h; its file is re-read on change."""

    token: Secret

    def secrets(self) -> tuple[Secret | None, ...]:
        return (self.token,)

    def headers(self) -> dict[str, str]:
        return {"X-Auth-Token": self.token.get()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """How one integration reaches COC. Times in seconds."""

    base_url: str  # scheme, host, port and perhaps a path before /v1; see `url_problem`
    integration_key: Secret
    auth: AkSk | Token | None = None  # None: nothing but the integration key
    timeout: float = 10.0  # the whole request
    connect_timeout: float = 5.0  # name look-up, TCP and TLS; never longer than `timeout`
    max_in_flight: int = 32
    ca_file: Path | None = None  # trusted instead of the system's authorities
    cert_file: Path | None = None
    key_file: Path | None = None  # when the key is not in cert_file
    server_name: str | None = None  # the name the certificate must carry, when it is not the URL's host
    proxy_url: Secret | None = None
    trust_env: bool = False  # take https_proxy, http_proxy and no_proxy from the environment

    def report_url(self) -> URL:
        """The URL of the custom event call, the key percent-encoded as the official SDK does it. Holds the secret."""
        return self._url(f"{PATH}{quote(self.integration_key.get(), safe='~')}")

    def applications_url(self) -> URL:
        """The URL of the call that lists applications, without its query."""
        return self._url(APPLICATIONS_PATH)

    def _url(self, path: str) -> URL:
        if problem := url_problem(self.base_url):
            raise EndpointProblem(f"base_url cannot be used: {problem}", "check base_url")
        base = URL(self.base_url)
        return URL(f"{base.origin()}{base.raw_path.rstrip('/')}{path}", encoded=True)

    def proxy(self) -> URL | None:
        """The proxy, credentials included."""
        return proxy_of(self.proxy_text())

    def proxy_text(self) -> str:
        """The proxy's URL as it was given, from proxy_url or the environment; empty without one."""
        given = self.proxy_url.get() if self.proxy_url else ""
        return given or (environment_proxy(URL(self.base_url)) if self.trust_env else None) or ""

    def secrets(self) -> Iterator[str]:
        """Every text that must not appear in a log, an answer or a metric."""
        credentials = self.auth.secrets() if self.auth else ()
        yield from (secret.get() for secret in (self.integration_key, *credentials) if secret)
        try:
            proxy = self.proxy()
        except EndpointProblem:
            return
        if proxy is not None and proxy.password:
            yield proxy.password
            yield f"{proxy.user}:{proxy.password}"

    def refresh_secrets(self) -> None:
        """Read every secret file again."""
        credentials = self.auth.secrets() if self.auth else ()
        for secret in (self.integration_key, *credentials, self.proxy_url):
            if secret:
                secret.refresh()

    def tls_context(self) -> ssl.SSLContext:
        """A context that verifies COC."""
        return tls_context(self.ca_file, self.cert_file, self.key_file)

    def tls_files(self) -> tuple[bytes, ...]:
        """What the files of tls_config hold now, to notice a change; a missing one counts as empty."""
        return file_contents(self.ca_file, self.cert_file, self.key_file)


def tls_context(ca_file: Path | None, cert_file: Path | None, key_file: Path | None) -> ssl.SSLContext:
    """A context that verifies the other side; EndpointProblem when a file cannot be used."""
    try:
        for path in (ca_file, cert_file, key_file):  # OpenSSL would wait for a FIFO
            if path and not content(path, MAX_BYTES):
                raise EndpointProblem("a file of tls_config is empty", "check tls_config")
        context = ssl.create_default_context(cafile=ca_file)
        if cert_file:
            # A key that wants a pass phrase must fail, not ask on the terminal.
            context.load_cert_chain(cert_file, key_file, password="")
    except (OSError, ValueError) as exc:
        words = getattr(exc, "reason", None) or getattr(exc, "strerror", None) or type(exc).__name__
        raise EndpointProblem(f"a file of tls_config cannot be used: {words}", "check tls_config") from None
    return context


def file_contents(*paths: Path | None) -> tuple[bytes, ...]:
    """What these files hold now, to notice a change; a missing one counts as empty."""
    return tuple(_content(path) for path in paths if path)


def proxy_of(text: str) -> URL | None:
    """None for an empty text; EndpointProblem for another that is no proxy's URL."""
    if not text:
        return None
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host:
        message = "proxy_url must read http://[user:password@]host:port or https://..."
        raise EndpointProblem(message, "check proxy_url")
    return url


def key_problem(key: str) -> str:
    """Why a text can be no integration key, to follow what it stands for; empty when it can be one."""
    is_url = "://" in key or "/v1/" in key
    return "is a URL; write the key alone, the last part of the URL that COC shows" if is_url else ""


def url_problem(base_url: str) -> str | None:
    """Why a base_url cannot be used, in words for the person who wrote it; None when it can."""
    try:
        url = URL(base_url)
        host, port = url.host, url.port
    except ValueError:
        return "it is not a URL"
    if url.scheme not in ("https", "http") or not host or not port:
        return "it must read https://host[:port][/path]"
    if url.user or url.password:
        return "it must not hold credentials"
    if url.raw_query_string or url.raw_fragment:
        return "it must end before any ? or #"
    if is_forbidden_address(host):
        return "link-local and metadata addresses are refused"
    return None


def is_forbidden_address(host: str) -> bool:
    """Link-local, where clouds keep their metadata service: nothing there can be COC. False for a name."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_link_local


def environment_proxy(url: URL) -> str | None:
    """The proxy that the environment names for this URL."""
    # Taken from the environment here rather than by aiohttp, which asks a thread for each request and reads netrc too.
    proxies = getproxies()
    return None if proxy_bypass(f"{url.host}:{url.port}") else proxies.get(url.scheme) or proxies.get("all")


def _content(path: Path) -> bytes:
    try:
        return content(path, MAX_BYTES)
    except OSError:
        return b""
