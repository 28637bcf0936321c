"""PURE: a claimed report and its rendering -> the body to send, or the outcome of a report that is not sent.

    kind              COC holds the alarm open                COC does not
    ----------------  --------------------------------------  ---------------------------------------------------
    alarm, refresh    send                                    send
    update            unneeded if COC has it so, else send;   send: nothing of this episode was accepted yet
                      send if maybe sent: COC may hold another
    ok                send, identified as COC accepted it     send if this episode was never tried, or may have been
                                                              accepted; else dropped or discarded like its alarm
    reassert          the state of its alert, like alarm or ok, but never unneeded

A rule that drops the alert drops its report, except an `ok` of an alarm that COC holds open or may hold open. That `ok`
is always sent.
"""

from __future__ import annotations

from pydantic_core import from_json, to_json

from adapter.alarm import Kind, Outcome
from adapter.coc.fields import closing, same_alarm
from adapter.mapping.render.body import fallback
from adapter.mapping.render.request import Contract, Reason, RenderRequest, RenderResult
from adapter.mapping.tools.request import request_of
from adapter.store.contract import Claim

OPEN = "alarm"


def request_for(claim: Claim, contract: Contract) -> RenderRequest:
    """What to render for a claim."""
    return request_of(claim.report, contract)


def decide(claim: Claim, request: RenderRequest, rendered: RenderResult) -> bytes | Outcome:
    """The body to send, as JSON, or the outcome without sending."""
    report, accepted = claim.report, claim.accepted
    held = accepted is not None and accepted.status == OPEN
    if request.status == "ok":
        return _closing(claim, request, rendered, held)
    if rendered.dropped or rendered.json is None:
        return Outcome.DROPPED
    sure = report.kind is Kind.UPDATE and held and not claim.maybe_sent
    if sure and accepted and same_alarm(from_json(accepted.body), rendered.body or {}):
        return Outcome.UNNEEDED
    return rendered.json


def with_fallback(claim: Claim, request: RenderRequest, mapped: RenderResult) -> tuple[RenderResult, bytes]:
    """The built-in body, after COC refused the mapped one, whose rule is to be mended and so stays named.

    An `ok` keeps the fields that identify the alarm to COC.
    """
    plain = fallback(request, mapped.revision, Reason.REFUSED)._replace(rule=mapped.rule, mapping=mapped.mapping)
    body = plain.body or {}
    if request.status == "ok" and claim.accepted is not None and claim.accepted.status == OPEN:
        body = closing(from_json(claim.accepted.body), body)
    return plain, to_json(body)


def _closing(claim: Claim, request: RenderRequest, rendered: RenderResult, held: bool) -> bytes | Outcome:
    if held or claim.maybe_sent:
        body = rendered.json or fallback(request, rendered.revision, Reason.NO_RULE).json or b"{}"
        if not held or claim.accepted is None:
            return body
        return to_json(closing(from_json(claim.accepted.body), from_json(body)))
    if rendered.json is None or rendered.dropped:
        return Outcome.DROPPED
    if claim.earlier is None or claim.report.kind is Kind.REASSERT:
        return rendered.json
    return Outcome.DROPPED if claim.earlier is Outcome.DROPPED else Outcome.DISCARDED
