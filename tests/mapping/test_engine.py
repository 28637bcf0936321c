"""Time that a template takes is charged to that template and its rule, and to nothing else."""

from __future__ import annotations

from pathlib import Path

from adapter.mapping.render.engine import QUARANTINE_SECONDS, Program
from adapter.mapping.render.request import RenderResult
from adapter.mapping.rules.files import load
from tests.mapping.builders import SOUND, a_request, reasons, rules, write

PATIENCE = 0.1


class Timed:
    """Three rules, the last of which takes the alert, where every template takes as long as a test says."""

    def __init__(self, folder: Path, *, clock: dict[int, float], cpu: dict[int, float] | None = None) -> None:
        """Seconds by the template's number: 0 to 2 are the rules' conditions, 3 the alarmName of the last rule."""
        self._clock, self._cpu = clock, clock if cpu is None else cpu
        self._now = self._used = 0.0
        self.laps = 0
        entries = [{"name": f"r{n}", "when": "integration == 'x'", "drop": True} for n in range(2)]
        write(folder, a=rules(*entries, {"name": "last", "when": "labels.alertname", "alarm": SOUND}))
        data = load(folder).as_data()
        self.program = Program(data, {}, mark=self._run, clock=lambda: self._now, lap=self._lap, patience=PATIENCE)

    def render(self) -> RenderResult:
        self._used = 0.0
        return self.program.render(a_request())

    def wait(self, seconds: float) -> None:
        self._now += seconds

    def _run(self, place: int) -> None:
        self._now += self._clock.get(place, 0.0)
        self._used += self._cpu.get(place, 0.0)

    def _lap(self) -> float:
        self.laps += 1
        used, self._used = self._used, 0.0
        return used


def test_a_rule_that_took_long_once_falls_back_from_the_next_alert_on(tmp_path: Path) -> None:
    timed = Timed(tmp_path, clock={3: 0.3})
    assert reasons(timed.render()) == {}
    after = timed.render()
    assert (after.rule, reasons(after)["alarmName"]) == ("last", "timeout")
    assert [why.detail for why in after.fallbacks.values() if why.detail] == ["it took 0.30 s"]


def test_a_condition_that_took_long_once_is_not_true_any_more(tmp_path: Path) -> None:
    timed = Timed(tmp_path, clock={2: 0.3})
    assert timed.render().rule == "last"
    after = timed.render()
    assert (after.rule, reasons(after)["when"]) == (None, "timeout")


def test_a_condition_in_quarantine_is_tried_again_after_a_minute_and_drops_nothing_before(tmp_path: Path) -> None:
    timed = Timed(tmp_path, clock={1: 0.3})
    assert timed.render().rule == "last"
    assert reasons(timed.render())["when"] == "timeout"
    timed.wait(QUARANTINE_SECONDS - 1)
    assert reasons(timed.render())["when"] == "timeout"
    timed.wait(1)
    assert "when" not in reasons(timed.render())


def test_time_in_which_other_processes_had_the_cpu_is_charged_to_no_rule(tmp_path: Path) -> None:
    timed = Timed(tmp_path, clock={1: 5.0, 3: 5.0}, cpu={1: 0.01, 3: 0.01})
    for _ in range(3):
        assert (result := timed.render()).rule == "last"
        assert "timeout" not in reasons(result).values()


def test_a_slow_template_is_not_charged_to_the_next_one(tmp_path: Path) -> None:
    """The next one starts with the whole deadline, and is not slow because the clock ran on under it too."""
    timed = Timed(tmp_path, clock={1: 0.3, 2: 0.3}, cpu={1: 0.3, 2: 0.01})
    assert timed.render().rule == "last"
    assert timed.laps == 2
    result = timed.render()
    assert (result.rule, reasons(result)["when"]) == ("last", "timeout")
    assert [why.detail for why in result.fallbacks.values() if why.detail] == ["rule r1: it took 0.30 s"]
