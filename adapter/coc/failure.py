"""Judges a POST that got no answer: every exception of the network has a verdict.

    exception                                     reason              the request may have taken effect
    --------------------------------------------  ------------------  ---------------------------------
    name cannot be resolved                       dns                 no
    connection refused, unreachable               connection_refused  no
    certificate, handshake, a TLS alert           tls                 no
    no connection in time                         connect_timeout     no
    proxy unreachable, refuses to connect         proxy               no
    link-local address                            endpoint (pause)    no
    proxy wants credentials (407, 401)            credentials (pause) no
    reset or closed                               connection_lost     once sending has begun
    no answer in time                             timeout             once sending has begun
    an answer that is not HTTP                    not_coc             once sending has begun
    anything else                                 unexpected          once sending has begun

No exception's own text is used where aiohttp puts the URL into it, since the URL holds the integration key.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator

import aiohttp

from adapter.coc.verdict import WRONG_ENDPOINT, Action, Reason, Verdict


class ForbiddenAddress(OSError):
    """COC's name leads to a link-local address, which is refused."""

    def __init__(self) -> None:
        super().__init__(0, self.__doc__)


def judge_failure(exc: BaseException, *, sent: bool) -> Verdict:
    """The verdict on a POST that ended in `exc`. `sent`: some of the request had been handed to the connection."""
    chain = tuple(_chain(exc))
    if any(isinstance(link, ForbiddenAddress) for link in chain):
        hint = "COC is never at a link-local address: check base_url and DNS"
        message = "refused to connect to a link-local address"
        return Verdict(action=Action.PAUSE, reason=Reason.ENDPOINT, message=message, hint=hint)
    if isinstance(exc, aiohttp.ClientHttpProxyError):
        return _proxy_refused(exc)
    # aiohttp's own classes are SSLErrors too, but only the exception they wrap knows the reason.
    tls = [link for link in chain if isinstance(link, ssl.SSLError)]
    if tls:
        return _lost(Reason.TLS, _tls_words(tls[-1]), "check tls_config, server_name and the site's certificate")
    reason, words, hint = _by_kind(exc, sent)
    return _lost(reason, words, hint, ambiguous=sent and reason in _MAY_HAVE_ARRIVED)


_MAY_HAVE_ARRIVED = frozenset({Reason.CONNECTION_LOST, Reason.TIMEOUT, Reason.NOT_COC, Reason.UNEXPECTED})


def _lost(reason: Reason, message: str, hint: str = "", *, ambiguous: bool = False) -> Verdict:
    return Verdict(action=Action.RETRY, reason=reason, message=message, hint=hint, ambiguous=ambiguous)


def _by_kind(exc: BaseException, sent: bool) -> tuple[Reason, str, str]:
    match exc:
        case aiohttp.ClientConnectorDNSError():
            return Reason.DNS, f"the name cannot be resolved: {_os_words(exc)}", "check site or base_url, and DNS"
        case aiohttp.ClientProxyConnectionError():
            return Reason.PROXY, f"the proxy cannot be reached: {_os_words(exc)}", "check proxy_url"
        case aiohttp.ClientConnectorError(os_error=ConnectionResetError() | ConnectionAbortedError()):
            # Connecting cannot be reset, only refused: this was the handshake.
            return Reason.TLS, "the connection was reset in the TLS handshake", "check tls_config, proxy_url"
        case aiohttp.ClientConnectorError():
            return Reason.REFUSED_CONNECTION, f"cannot connect: {_os_words(exc)}", ""
        case aiohttp.ServerFingerprintMismatch():
            return Reason.TLS, "the certificate is not the one expected", ""
        case TimeoutError() if not sent or isinstance(exc, aiohttp.ConnectionTimeoutError):
            return Reason.CONNECT_TIMEOUT, "no connection in time", "check the network, a firewall, proxy_url"
        case TimeoutError():
            return Reason.TIMEOUT, "no answer in time", ""
        case aiohttp.ServerDisconnectedError():
            return Reason.CONNECTION_LOST, "the connection was closed before an answer", ""
        case aiohttp.ClientPayloadError():
            return Reason.CONNECTION_LOST, "the connection was closed within the answer", ""
        case aiohttp.ClientResponseError():
            return Reason.NOT_COC, "what answered does not speak HTTP", WRONG_ENDPOINT
        case OSError() | aiohttp.ClientConnectionError():
            return Reason.CONNECTION_LOST, f"the connection broke: {_os_words(exc)}", ""
    return Reason.UNEXPECTED, f"the request failed: {type(exc).__name__}", ""


def _proxy_refused(exc: aiohttp.ClientHttpProxyError) -> Verdict:
    message = f"the proxy answered {exc.status} {exc.message}"
    if exc.status in (401, 407):  # tinyproxy answers 401 to wrong credentials, 407 to none
        hint = "the proxy wants credentials: check proxy_url"
        return Verdict(action=Action.PAUSE, reason=Reason.CREDENTIALS, status=exc.status, message=message, hint=hint)
    return _lost(Reason.PROXY, message, "check proxy_url and whether the proxy may connect to COC")


def _os_words(exc: BaseException) -> str:
    inner = getattr(exc, "os_error", None)
    if isinstance(inner, OSError):
        return inner.strerror or type(inner).__name__
    # aiohttp's own strerror may hold the URL; the kernel's words for the number do not.
    number = getattr(exc, "errno", None)
    return os.strerror(number) if isinstance(number, int) else type(exc).__name__


def _tls_words(exc: ssl.SSLError) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"the certificate does not verify: {getattr(exc, 'verify_message', '') or 'unknown reason'}"
    return f"TLS failed: {getattr(exc, 'reason', '') or 'unknown reason'}"


def _chain(exc: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        yield exc
        inner = getattr(exc, "os_error", None) or getattr(exc, "certificate_error", None)
        if isinstance(inner, BaseException) and id(inner) not in seen:
            yield inner
        exc = exc.__cause__ or exc.__context__
