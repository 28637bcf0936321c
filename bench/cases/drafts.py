"""B13: how quickly a draft of the shipped mappings is compared with what serves, as an editor asks at each pause."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from adapter.alertmanager import parse_webhook
from adapter.mapping import shipped
from adapter.mapping.draft.comparing import Draft
from adapter.mapping.draft.process import DraftProcess
from adapter.mapping.render.live import LiveMappings
from adapter.mapping.render.request import RenderRequest
from adapter.mapping.tools.case_texts import read_tests
from adapter.mapping.tools.request import Preview
from bench.figures import Goal, Row, percentile, plain
from bench.payloads import fresh
from bench.setting import Bench

KEYSTROKES: Final = 60
SHOWN: Final = 20  # alerts
MANY: Final = 1000
CHANGED: Final = "30-kubernetes.yaml"


async def keystrokes(bench: Bench) -> list[Row]:
    """A file that differs each time, with all tests of the shipped mappings; then a thousand alerts without them."""
    mappings = await LiveMappings.open(shipped())
    process = DraftProcess(mappings)
    tests, alerts = read_tests(shipped() / "tests"), _alerts(MANY)
    previews: list[float] = []
    differences: list[float] = []
    try:
        for _ in range(bench.repeats):
            taken = [
                await _seconds(process, mappings, n, tests, alerts[:SHOWN]) for n in range(bench.some(KEYSTROKES) + 1)
            ]
            previews.append(percentile(taken[1:], 0.95) * 1e3)
            differences.append(await _seconds(process, mappings, KEYSTROKES, {}, alerts))
            bench.say(f"B13: preview p95 {previews[-1]:.0f} ms, {MANY} alerts {differences[-1]:.2f} s")
    finally:
        await process.close()
        await mappings.close()
    return [
        plain("B13", f"preview of {SHOWN} alerts with all tests, p95", "ms", previews, Goal("at most", 150, "ms")),
        plain("B13", f"draft on {MANY} alerts", "s", differences, Goal("at most", 1, "s")),
    ]


def _alerts(count: int) -> list[RenderRequest]:
    preview = Preview(received=1)
    webhooks = [parse_webhook(body) for body in fresh(count, per_webhook=100)]
    return [preview.request(alert, webhook.group) for webhook in webhooks for alert in webhook.alerts]


async def _seconds(
    process: DraftProcess, mappings: LiveMappings, number: int, tests: dict[str, str], alerts: Sequence[RenderRequest]
) -> float:
    text = mappings.rules.texts[CHANGED].decode().replace("level }}", f"level }}}}{' ' * number}")
    started = time.monotonic()
    await process.compare(Draft({CHANGED: text}, tests), alerts)
    return time.monotonic() - started
