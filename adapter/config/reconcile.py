"""The key `reconcile` of adapter.yml: which Alertmanagers to ask, and what may be done about what they say."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from adapter.coc.endpoint import url_problem
from adapter.config.model import (
    Duration,
    InlineProxy,
    InlineSecret,
    Model,
    ProxyFile,
    SecretFile,
    Size,
    TlsConfig,
    path_name,
    to_micros,
)
from adapter.reconcile.cluster import Cluster, Mode, Rules
from adapter.validation import Problem, Problems

_SENDING: Final = (Mode.CLOSE, Mode.REPAIR)


def _url(url: str) -> str:
    if reason := url_problem(url):
        raise ValueError(f"the URL cannot be used: {reason}")
    return url.rstrip("/")


def _members(urls: list[str]) -> list[str]:
    if len(set(urls)) < len(urls):
        raise ValueError("a member is named twice")
    return urls


def _dns(url: str) -> str:
    if url and (reason := url_problem(url)):
        raise ValueError(f"dns cannot be used: {reason}")
    return url


def _external_url(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError("an external URL must read http://host[:port][/path], as Alertmanager's webhooks carry it")
    return url


def _header(text: str) -> str:
    if not (text and text.isascii() and text.isprintable()):
        raise ValueError("a header is printable ASCII text")
    return text


Url = Annotated[str, AfterValidator(_url)]
Header = Annotated[str, AfterValidator(_header)]


class BasicAuth(Model):
    needs = ("password", "basic_auth needs password or password_file")

    username: str
    password: InlineSecret = None
    password_file: SecretFile = None


class Authorization(Model):
    needs = ("credentials", "authorization needs credentials or credentials_file")

    type: Header = "Bearer"
    credentials: InlineSecret = None
    credentials_file: SecretFile = None


class AlertmanagerSettings(Model):
    name: Annotated[str, AfterValidator(path_name)]
    members: Annotated[list[Url], AfterValidator(_members)] = Field(default_factory=list)
    dns: Annotated[str, AfterValidator(_dns)] = ""
    external_urls: list[Annotated[str, AfterValidator(_external_url)]] = Field(default_factory=list)
    integrations: list[str] = Field(default_factory=list)
    receivers: list[str] = Field(default_factory=list)
    watchdog: dict[str, str] = Field(default_factory=dict)
    basic_auth: BasicAuth | None = None
    authorization: Authorization | None = None
    headers: dict[Header, Header] = Field(default_factory=dict)
    tls_config: TlsConfig = TlsConfig()
    proxy_url: InlineProxy = None
    proxy_url_file: ProxyFile = None
    proxy_from_environment: bool = False

    @classmethod
    def problems(cls, data: Mapping[str, Any]) -> Iterator[str]:
        yield from super().problems(data)
        if bool(data.get("members")) == bool(data.get("dns")):
            yield "exactly one of members (each by its own address) and dns is required"
        if data.get("basic_auth") and data.get("authorization"):
            yield "basic_auth and authorization are both set; keep one of them"


class ReconcileSettings(Model):
    mode: Annotated[
        Literal["off", "observe", "close", "repair"],
        BeforeValidator(lambda value: "off" if value is False else value),  # YAML reads a boolean
    ] = "observe"
    interval: Annotated[Duration, Field(gt=0)] = 60.0
    absent_polls: Annotated[int, Field(ge=1)] = 5
    grace: Duration = 600.0
    settle: Duration = 900.0
    max_close: Annotated[int, Field(ge=1)] = 20
    timeout: Annotated[Duration, Field(gt=0)] = 10.0
    max_body: Annotated[Size, Field(gt=0)] = 64 * 1024 * 1024
    refresh: bool = True
    adopt_after: Duration | None = None
    close_unrouted: bool = False
    alertmanagers: list[AlertmanagerSettings] = Field(default_factory=list)

    def check(self, integrations: Collection[str]) -> None:
        """Raises Problems; `integrations` are those there are."""
        if self.mode == "off":
            return
        found = []
        if not self.alertmanagers:
            found.append(
                Problem("reconcile names no Alertmanager", "add alertmanagers", at=("reconcile",), at_key=True)
            )
        seen: set[str] = set()
        for index, item in enumerate(self.alertmanagers):
            at: tuple[Any, ...] = ("reconcile", "alertmanagers", index)
            if item.name in seen:
                found.append(Problem(f"two Alertmanagers are called {item.name!r}", at=(*at, "name")))
            seen.add(item.name)
            for place, name in enumerate(item.integrations):
                if name not in integrations:
                    known = f"there are {', '.join(integrations)}"
                    found.append(Problem(f"there is no integration {name!r}", known, at=(*at, "integrations", place)))
            if self.mode == "repair":
                found += self._unrepairable(item, at, integrations)
        if found:
            raise Problems(found)

    def _unrepairable(
        self, item: AlertmanagerSettings, at: tuple[Any, ...], integrations: Collection[str]
    ) -> list[Problem]:
        """Nothing else says whose an alert is that no webhook brought."""
        hint = "mode repair opens alerts that no webhook brought"
        found = []
        if not item.receivers:
            found.append(Problem("mode repair needs receivers here", hint, at=at))
        if len(item.integrations or integrations) != 1:
            found.append(Problem("mode repair needs exactly one integration here", hint, at=at))
        return found

    def clusters(self, integrations: tuple[str, ...], refresh_interval: float) -> list[Cluster]:
        """`integrations`: all there are, for an entry that names none."""
        if self.mode == "off":
            return []
        return [self._cluster(item, integrations, refresh_interval) for item in self.alertmanagers]

    def _cluster(self, item: AlertmanagerSettings, integrations: tuple[str, ...], refresh_interval: float) -> Cluster:
        basic, authorization, tls = item.basic_auth, item.authorization, item.tls_config
        return Cluster(
            name=item.name,
            members=tuple(item.members),
            dns=item.dns.rstrip("/"),
            external_urls=tuple(item.external_urls),
            integrations=tuple(dict.fromkeys(item.integrations)) or integrations,
            receivers=tuple(item.receivers),
            watchdog=item.watchdog,
            rules=self._rules(refresh_interval),
            interval=self.interval,
            timeout=self.timeout,
            max_body=self.max_body,
            username=basic.username if basic else "",
            password=basic.secret("password") if basic else None,
            scheme=authorization.type if authorization else "",
            credentials=authorization.secret("credentials") if authorization else None,
            headers=item.headers,
            ca_file=tls.ca_file,
            cert_file=tls.cert_file,
            key_file=tls.key_file,
            server_name=tls.server_name,
            proxy_url=item.secret("proxy_url"),
            trust_env=item.proxy_from_environment,
        )

    def _rules(self, refresh_interval: float) -> Rules:
        adopt_after = 2 * self.grace if self.adopt_after is None else self.adopt_after
        refreshes = self.refresh and self.mode in _SENDING
        return Rules(
            mode=Mode(self.mode),
            absent_polls=self.absent_polls,
            grace=to_micros(self.grace),
            settle=to_micros(self.settle),
            max_close=self.max_close,
            adopt_after=to_micros(adopt_after),
            refresh_interval=to_micros(refresh_interval) if refreshes else 0,
            close_unrouted=self.close_unrouted,
        )
