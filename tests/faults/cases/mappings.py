"""Row 30: each class of template error, in a field that COC requires."""

from __future__ import annotations

from pathlib import Path

from adapter.sandbox.contract import violations as contract
from tests.faults.result import CaseResult, case_result, unless
from tests.mapping.builders import SOUND, a_request, reasons, rendered, rules, write

ERRORS = {
    "undefined": "{{ {}[labels.trap].nothing }}",
    "filter argument": "{{ 'x' | regex_search(labels.trap) }}",
    "type": "{{ 1 + labels.trap }}",
    "zero": "{{ 1 // (labels.trap | length - 1) }}",
    "recursion": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "security": "{{ labels | attr('__cl' ~ 'ass__') }}{{ (labels | attr('__cl' ~ 'ass__')).mro }}",
    "memory": "{{ 'a' * 10 ** 9 }}",
    "time": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "empty": "{{ '' if labels.trap }}",
}
"""By class. A template that does not compile is refused at load, see row 33."""

TEMPLATES = {name for name, text in SOUND.items() if "{{" in text}
"""What falls back with a rule whose template was stopped."""


async def template_errors(folder: Path, *, alerts: int) -> CaseResult:
    """Render `alerts` alerts for each class, and as many without an error."""
    entries = [
        {
            "name": name,
            "when": f"labels.kind == '{name}'",
            "alarm": {**SOUND, "alarmName": "{% if labels.trap %}" + template + "{% else %}sound{% endif %}"},
        }
        for name, template in ERRORS.items()
    ]
    levels = {"name": "level", "when": "labels.kind == 'level'", "alarm": {**SOUND, "alarmLevel": "{{ labels.trap }}"}}
    write(folder, all=rules(*entries, levels, {"name": "rest", "alarm": SOUND}, lookup={"t": {"a": "b"}}))
    kinds = [*ERRORS, "level"]
    requests = [a_request({"kind": kind, "trap": "("}) for kind in kinds for _ in range(alerts)]
    requests += [a_request({"pod": f"p{number}"}) for number in range(alerts)]
    results = await rendered(folder, *requests, deadline=0.3)
    wrong = []
    for number, one in enumerate(results):
        kind = kinds[number // alerts] if number < len(kinds) * alerts else "none"
        fell = set(reasons(one)) - {"when"}
        expected = {"none": set(), "level": {"alarmLevel"}, "time": TEMPLATES}.get(kind, {"alarmName"})
        wrong += [unless(one.body is not None, f"{kind}: no body")]
        wrong += [str(line) for line in contract(one.body or {})]
        wrong += [unless(fell == expected, f"{kind}: fell back {sorted(fell)}")]
        wrong += [
            unless(
                (one.body or {}).get("alarmName") == "PodDown", f"{kind}: alarmName {(one.body or {}).get('alarmName')}"
            )
        ]
    share = 100 * sum(one.body is not None for one in results) / len(results)
    return case_result({"classes": len(kinds), "alerts": len(results), "% delivered": round(share)}, wrong)
