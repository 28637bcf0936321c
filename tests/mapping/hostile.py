"""Templates that try to run for ever, to take all memory, to end the worker process or to leave the sandbox."""

from __future__ import annotations

HOSTILE = {
    "endless": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "endless_conditions": "{% for a in range(99999) if not range(99999) | select('eq', -1) | list %}{% endfor %}",
    "endless_arithmetic": "{{ 9 ** (9 ** 9) }}",
    "endless_digits": "{{ (7 ** 999999) | string }}",
    "backtracking": "{{ ('a' * 40 ~ '!') | regex_search('^(a+)+$') }}",
    "backtracking_replace": "{{ ('a' * 40 ~ '!') | regex_replace('(a|aa)+$', '') }}",
    "sorting_for_ever": "{% for a in range(9999) %}{{ range(99999) | reverse | sort | length }}{% endfor %}",
    "indent_in_c_code": "{{ ('x\n' * 100000) | indent(100000) }}",
    "huge_text": "{{ 'a' * 10 ** 9 }}",
    "huge_list": "{{ [0] * 10 ** 9 }}",
    "huge_format": "{{ '%0500000000d' % 1 }}",
    "huge_center": "{{ 'a' | center(10 ** 9) }}",
    "huge_join": "{{ range(99999) | join('x' * 100000) }}",
    "doubling_by_tilde": "{% set n = namespace(t='x') %}{% for a in range(64) %}{% set n.t = n.t ~ n.t %}{% endfor %}",
    "doubling_by_replace": (
        "{% set n = namespace(t='x') %}{% for a in range(64) %}{% set n.t = n.t | replace('x', 'xxxx') %}{% endfor %}"
    ),
    "doubling_lists": "{% set n = namespace(t=[0]) %}{% for a in range(64) %}{% set n.t = n.t + n.t %}{% endfor %}",
    "huge_output": "{% for a in range(99999) %}{{ 'x' * 99999 }}{% endfor %}",
    "recursive_macro": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "recursive_loop": "{% for a in [[1]] recursive %}{{ loop([a]) }}{% endfor %}",
    "range_too_long": "{{ range(10 ** 9) | list }}",
    "class_escape": "{{ (labels | list)[0] | attr('__cl' ~ 'ass__') }}",
    "subclasses_escape": "{{ ''[('__cl', 'ass__') | join][('__m', 'ro__') | join][1] }}",
    "format_escape": "{{ '{0.__class__.__init__.__globals__}'.format(labels) }}",
    "format_map_escape": "{{ '{a.__class__}'.format_map({'a': 1}) }}",
    "globals_escape": "{{ range['__glo' ~ 'bals__'] }}",
    "mutating_what_is_shared": "{{ lookup.t['pop']('a') }}",
    "deep_nesting": "{{ " + "[" * 60 + "1 / 0" + "]" * 60 + " }}",
    "surrogates": "{{ '\\ud800' }}{{ 1 / 0 }}",
    "kills_its_own_kind": "{{ dict.fromkeys(range(99999), range(99999) | list) | string }}",
}


def trap(template: str) -> str:
    """A template that does this only for alerts with the label `trap`, so that the trial on a plain alert passes."""
    return "{% if labels.trap %}" + template + "{% endif %}sprung"
