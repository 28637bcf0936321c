from __future__ import annotations

import pytest

from adapter.alarm import Alarm, Kind
from adapter.alertmanager import parse_webhook
from adapter.lifecycle import Policy, transition
from bench.payloads import alert, day_of_resends, fresh, webhook


def test_fresh_alerts_are_all_different_and_none_is_rejected() -> None:
    webhooks = [parse_webhook(body) for body in fresh(25, per_webhook=10, first=7)]
    assert [len(each.alerts) for each in webhooks] == [10, 10, 5]
    assert len({alert.fingerprint for each in webhooks for alert in each.alerts}) == 25
    assert not any(each.rejects for each in webhooks)


def test_a_webhook_is_firing_while_one_alert_of_it_is() -> None:
    gone = alert(2, firing=False, ends="2026-11-23T16:00:00Z")
    assert b'"status":"firing","alerts"' in webhook([gone, alert(1)])
    assert b'"status":"resolved","alerts"' in webhook([gone])


def test_a_day_of_resends_has_exactly_the_changes_it_counts() -> None:
    """Counted by the lifecycle, with each flush sent by two Alertmanagers."""
    known: dict[str, Alarm | None] = {}
    policy = Policy(refresh_interval=0, id_per_episode=False)
    for body, news in day_of_resends(group=5, flushes=10):
        owed = []
        for _ in range(2):
            for each in parse_webhook(body).alerts:
                step = transition(known.get(each.fingerprint), each, now=1, revision="r", policy=policy)
                known[each.fingerprint] = step.alarm
                owed += [step.owed] if step.owed else []
        assert len(owed) == news
        assert set(owed) <= {Kind.ALARM, Kind.OK}


def test_a_day_with_more_changes_than_alerts_is_refused() -> None:
    with pytest.raises(ValueError, match="too many"):
        next(day_of_resends(group=2, flushes=5))
