"""Mapping files that once ended the check with a traceback, and their variants: too long, too deep, too many."""

from __future__ import annotations

from tests.mapping.builders import SOUND, one_rule, rules

DIGITS = "9" * 5000
FIELD = {
    "a number of 5000 digits": "{{ " + DIGITS + " }}",
    "a thousand filters": "{{ labels.a" + "|lower" * 1000 + " }}",
    "a filter block of a thousand": "{% filter " + "|".join(["lower"] * 1000) + " %}x{% endfilter %}",
    "three thousand attributes": "{{ labels" + ".a" * 3000 + " }}",
    "two thousand subscripts": "{{ labels" + "[0]" * 2000 + " }}",
    "three thousand calls": "{{ range" + "()" * 3000 + " }}",
    "three thousand sums": "{{ " + "1+" * 3000 + "1 }}",
    "a thousand powers": "{{ " + "9**" * 1000 + "9 }}",
    "parentheses": "{{ " + "(" * 2000 + "1" + ")" * 2000 + " }}",
    "conditions in conditions": "{{ " + "1 if 1 else " * 500 + "1 }}",
    "blocks in blocks": "{% for a in [] %}" * 200 + "{% endfor %}" * 200,
    "an expression of 3000 groups": "{{ labels.a | regex_search('" + "(" * 3000 + "a" + ")" * 3000 + "') }}",
    "a huge repetition": "{{ labels.a | regex_search('a{99999999999999999999}') }}",
    "a repetition of 5000 digits": "{{ labels.a | regex_search('a{" + DIGITS + "}') }}",
}
PLAIN = "rules: [{name: r, alarm: {alarmName: x}}]\n"
CRASHING = {
    **{name: one_rule(resourceName=template) for name, template in FIELD.items()},
    "a condition of 5000 digits": rules({"name": "r", "when": DIGITS, "alarm": SOUND}),
    "a condition of 7000 hexadecimal digits": rules({"name": "r", "when": "0x" + "f" * 7000, "alarm": SOUND}),
    "a condition of a thousand parts": rules({"name": "r", "when": "1 and " * 1000 + "1", "alarm": SOUND}),
    "YAML with a number of 5000 digits": f"lookup:\n  t:\n    a: {DIGITS}\n{PLAIN}",
    "a table 300 levels deep": "lookup:\n  t: " + "{a: " * 300 + "1" + "}" * 300 + f"\n{PLAIN}",
    "a table of lists 200 levels deep": "lookup:\n  t: {a: " + "[" * 200 + "1" + "]" * 200 + "}" + f"\n{PLAIN}",
    "YAML of 100 000 lists": "[" * 100_000,
    "an alias of itself": "rules: &a [*a]\n",
    "a long text by 5000 aliases": "lookup:\n  t:\n    a: &a "
    + "y" * 1000
    + "\n"
    + "".join(f"    k{number}: *a\n" for number in range(5000))
    + PLAIN,
    "defaults of 40 MiB in all rules": rules(
        *({"name": f"r{number}", "when": f"labels.a == '{number}'"} for number in range(250)),
        defaults={**SOUND, "additional": {f"k{number}": "{{ 1 }}" + "x" * 8000 for number in range(20)}},
    ),
}
