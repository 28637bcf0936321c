"""PURE: the wording of `explain`, by code. Names in braces are the args of the sentence; some are sentences too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

TEXTS: Final[Mapping[str, str]] = {
    "never_received": (
        "Never received: no webhook of this integration carried such an alert, or it was resolved so long ago that it"
        " is forgotten."
    ),
    "where_to_look": (
        "Look at Alertmanager's route and silences, at the rejects (/api/v1/rejects), and whether webhooks were"
        " truncated (max_alerts)."
    ),
    "state": "Alertmanager says {state}; COC has accepted nothing about it yet.",
    "state_at_coc": "Alertmanager says {state}; COC has it as '{status}' since {at}.",
    "firing": "firing since {at}",
    "resolved": "resolved at {at}",
    "untimed": "{status}, without a time",
    "orphan": (
        "Integration {integration!r} is not in adapter.yml, so nothing is sent about it: `coc-adapter integrations"
        " move {integration} NEW` gives its alarms to another one, `discard` ends them."
    ),
    "one_waiting": "{count} report waiting, first an '{kind}' (id {id})",
    "one_waiting_a": "{count} report waiting, first a '{kind}' (id {id})",
    "some_waiting": "{count} reports waiting, first an '{kind}' (id {id})",
    "some_waiting_a": "{count} reports waiting, first a '{kind}' (id {id})",
    "waiting_paused": "{what}: the integration is paused since {since} by {by}: {reason}{detail}; {then}.",
    "detail": " ({detail})",
    "probed": "it is probed every 60 s",
    "resume": "resume it with `coc-adapter integrations resume`",
    "waiting_tried": "{what}: tried {tried}, last at {at}: {verdict} {answer}; {due}.",
    "next_try": "next try in {seconds} s",
    "next_at_once": "next try at once",
    "next_probe": "COC does not answer, probes go on every few seconds",
    "waiting_untried": "{what}: not tried yet.",
    "waiting_silent": "{what}: not tried yet, COC does not answer just now.",
    "settled": "Last settled: '{kind}' (id {id}) at {at}",
    "delivered_built_in": (
        "{head}: delivered, COC accepted the built-in body after it had refused the one made by {rule}."
    ),
    "delivered": "{head}: delivered, COC accepted it, made by {rule}{marks}.",
    "unneeded": "{head}: unneeded, the fields COC goes by are as COC has them; made by {rule}.",
    "dropped": "{head}: dropped, {rule} says it is not to be reported.",
    "dead": "{head}: dead letter, COC refused it for good: {answer}{twice}; {then}.",
    "answer": "{status} {error} {message}",
    "unsendable": "it could not be sent",
    "twice_refused": " (first the body made by {rule}, then the built-in one)",
    "replayed": "it was replayed",
    "replay": "mend and run `coc-adapter dead-letters replay {id}`",
    "discarded": "{head}: discarded, COC never took the alarm it would close, or a person discarded it.",
    "superseded": "{head}: superseded by a newer report before it was tried.",
    "superseded_tried": "{head}: superseded by a newer report after it was tried {tried}.",
    "no_rule": "no rule",
    "rule": "rule {rule!r} of {mapping} (revision {revision})",
    "fell_back": ", fallback for {fields}",
    "condition_failed": (
        "{fell_back}; the condition of a rule before it failed ({reason}), after which no rule may drop the alert"
    ),
    "repeated": "Alertmanager repeated it {repeated}, last seen {at}: nothing had changed, so nothing was sent.",
    "unseen": "Last seen {at}: Alertmanager may have lost it, a silence may hide it.",
    "stale_one": "{count} resolve was older than the newest start, and ignored as stale.",
    "stale_some": "{count} resolves were older than the newest start, and ignored as stale.",
    "once": "once",
    "times": "{count} times",
    "conflicts": (
        "{count} times an alert came under this fingerprint with other labels than the one before. Alertmanager makes"
        " it of all labels: two alerts of another sender share it and are one alarm here, or it changes the labels of"
        " one."
    ),
}
