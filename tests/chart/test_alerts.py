"""The alerting rules fire when they should and only then; each has a runbook."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.chart.rule_files import ALERTS, PROOF_OF_LIFE, ROOT, RUNBOOKS, promtool, rules, yaml_blocks
from tests.needs import needs

CASES = sorted(Path(__file__).parent.glob("*.yaml"))
HEADINGS = ["Meaning", "Impact", "Diagnosis", "Mitigation"]
OUR_COMMANDS = ("coc-adapter alarms", "coc-adapter dead-letters", "coc-adapter integrations", "/api/v1/")


def names() -> list[str]:
    return [rule["alert"] for rule in rules()]


def headings(page: Path) -> list[str]:
    return [line.removeprefix("## ") for line in page.read_text().splitlines() if line.startswith("## ")]


def test_promtool_finds_nothing_wrong_with_the_rules() -> None:
    promtool(needs("promtool"), "check", "rules", ALERTS)


@pytest.mark.parametrize("cases", CASES, ids=lambda path: path.stem)
def test_the_rules_fire_and_stay_silent_as_in_the_cases(cases: Path) -> None:
    promtool(needs("promtool"), "test", "rules", cases)


@pytest.mark.parametrize("alert", names())
def test_every_rule_has_a_case_that_fires_and_one_that_must_not(alert: str) -> None:
    checks = [
        check
        for cases in CASES
        for case in yaml.safe_load(cases.read_text())["tests"]
        for check in case["alert_rule_test"]
        if check["alertname"] == alert
    ]
    assert any(check.get("exp_alerts") for check in checks)
    assert any(not check.get("exp_alerts") for check in checks)


@pytest.mark.parametrize("rule", rules(), ids=names())
def test_every_alert_has_a_severity_a_summary_a_description_and_a_runbook(rule: dict[str, dict[str, str]]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert all(rule["annotations"].values())
    assert "{{" not in rule["annotations"]["summary"], "a summary groups alerts, so it is the same for all of them"


@pytest.mark.parametrize("rule", rules(), ids=names())
def test_every_runbook_exists_and_has_the_four_sections(rule: dict[str, dict[str, str]]) -> None:
    page = ROOT / rule["annotations"]["runbook_url"]
    assert page == RUNBOOKS / f"{rule['alert']}.md"
    assert page.read_text().startswith(f"# {rule['alert']}\n")
    assert headings(page) == HEADINGS
    assert any(command in page.read_text().partition("## Diagnosis")[2] for command in OUR_COMMANDS)


def test_every_runbook_belongs_to_an_alert_and_is_listed() -> None:
    pages = {page.stem for page in RUNBOOKS.glob("*.md")} - {"README"}
    assert pages == set(names())
    index = (RUNBOOKS / "README.md").read_text()
    for rule in rules():
        name, severity, summary = rule["alert"], rule["labels"]["severity"], rule["annotations"]["summary"]
        assert f"| [{name}]({name}.md) | {severity} | {summary} |" in index


def test_alert_names_are_unique() -> None:
    assert len(names()) == len(set(names()))


def test_the_rules_of_the_proof_of_life_satisfy_promtool(tmp_path: Path) -> None:
    blocks = yaml_blocks(PROOF_OF_LIFE)
    for name in ("watchdog.rules.yaml", "coc-heartbeat.rules.yaml"):
        (tmp_path / name).write_text(blocks[name][0])
        promtool(needs("promtool"), "check", "rules", tmp_path / name)


def test_the_route_of_the_proof_of_life_leads_to_the_adapter(tmp_path: Path) -> None:
    amtool = needs("amtool")
    config = tmp_path / "alertmanager.yml"
    config.write_text(yaml_blocks(PROOF_OF_LIFE)["alertmanager.yml"][0])
    promtool(amtool, "check-config", config)
    promtool(
        amtool, "config", "routes", "test", f"--config.file={config}", "--verify.receivers=coc", "alertname=Watchdog"
    )
