"""PURE: what COC's answer means. One table; the reason is the metric label, the log field and the word in `explain`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    """What delivery does about a verdict."""

    ACCEPTED = "accepted"
    RETRY = "retry"  # transient: back off, no limit
    REFUSED = "refused"  # this content: once more with the built-in fallback, then a dead letter
    PAUSE = "pause"  # this caller or endpoint: pause the integration, keep everything, probe


class Reason(StrEnum):
    """Every way a POST can end. A closed list."""

    ACCEPTED = "accepted"
    # no answer that could be judged
    DNS = "dns"
    REFUSED_CONNECTION = "connection_refused"
    TLS = "tls"
    CONNECT_TIMEOUT = "connect_timeout"
    CONNECTION_LOST = "connection_lost"
    TIMEOUT = "timeout"
    PROXY = "proxy"
    # an answer
    NOT_COC = "not_coc"  # 2xx whose body does not carry COC's success code
    THROTTLED = "throttled"  # 429 and COC's or the gateway's throttling codes
    SERVER_ERROR = "server_error"  # 5xx, 408, 425
    CONTENT = "content"  # 400, 413, 422 or a 200 with a content error code
    CREDENTIALS = "credentials"  # 401, 403
    ENDPOINT = "endpoint"  # 404, 405, redirects
    UNEXPECTED = "unexpected"  # any other status


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One POST, judged. `message` is COC's words or the network's, scrubbed of secrets, at most 500 characters."""

    action: Action
    reason: Reason
    status: int = 0  # HTTP status; 0 without an answer
    code: str = ""  # COC's error_code
    message: str = ""
    hint: str = ""  # what an operator should look at
    retry_after: float | None = None  # seconds, as the answer asked for; already bounded to 600
    ambiguous: bool = False  # the request may have taken effect although no answer said so
