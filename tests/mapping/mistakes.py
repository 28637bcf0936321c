"""What people write in mapping files and do not mean. The tests read this list, and docs/mapping-mistakes.md shows it."""

# ruff: noqa: E501 - what is written stands in one line

from __future__ import annotations

from typing import NamedTuple


class Mistake(NamedTuple):
    """One or more lines of a rule. `when`, `lookup` or a field of COC: the key says where they stand."""

    written: str
    says: str  # the message of `check`, without its place
    instead: str
    gives: str | bool  # by `instead` for the alert ALERT: the field, or whether the condition takes it
    warning: bool = False


class Section(NamedTuple):
    title: str
    mistakes: tuple[Mistake, ...]


LABELS = {
    "alertname": "KubePodCrashLooping", "severity": "warning", "namespace": "shop", "pod": "api-7d9c5b6f4c-x2x7k",
    "instance": "node-3.example:9100", "service.name": "checkout", "node-name": "node-3", "code": "500",
}  # fmt: skip
ANNOTATIONS = {"summary": "Pod restarts", "description": "Pod shop/api restarts again and again.", "value": "17"}

_PIECE = "`in` a text looks for a piece of it, and an empty label is in every text"
_GO = "stands before its arguments as in Go templates"
_NO_VALUE = (
    "Alertmanager sends no value; put it into an annotation of the alerting rule and write annotations.NAME"
)  # fmt: skip

SECTIONS = (
    Section("Conditions", (
        Mistake('when: labels.namespace in ("dev")', f'{_PIECE} (for one of several write `labels.namespace in ["dev"]`)',
                'when: labels.namespace in ["dev"]', False, warning=True),
        Mistake('when: labels.team in "dba,ops"', f'{_PIECE} (for one of several write `labels.team in ["dba", "ops"]`)',
                'when: labels.team in ["dba", "ops"]', False, warning=True),
        Mistake('when: labels.severity == "info" or "none"',
                '"none" after `or` is compared with nothing: this is always true '
                '(write `labels.severity in ["info", "none"]`)',
                'when: labels.severity in ["info", "none"]', False, warning=True),
        Mistake('when: labels.severity == ("info" or "none")',
                'a `or` of literals is one of them: only "info" is compared '
                '(write `labels.severity in ["info", "none"]`)',
                'when: labels.severity in ["info", "none"]', False, warning=True),
        Mistake('when: labels.severity != "info" or labels.severity != "none"',
                'this `or` is always true: no value is both (write `labels.severity not in ["info", "none"]`)',
                'when: labels.severity not in ["info", "none"]', True, warning=True),
        Mistake('when: labels.severity == "info" and labels.severity == "none"',
                'this `and` is never true: one value cannot be both (write `labels.severity in ["info", "none"]`)',
                'when: labels.severity in ["info", "none"]', False, warning=True),
        Mistake('when: labels.code == 500', 'a label is text and never equal to 500 (write `labels.code == "500"`)',
                'when: labels.code == "500"', True, warning=True),
        Mistake('when: severity == "warning"', "unknown name 'severity' (write labels.severity)",
                'when: labels.severity == "warning"', True),
        Mistake("when: labels.severity == warning",
                "unknown name 'warning' (write labels.warning for a label, \"warning\" for a text)",
                'when: labels.severity == "warning"', True),
        Mistake('when: namespace == "shop"',
                "'namespace' is a function of Jinja2, which is never sent or compared (write labels.namespace)",
                'when: labels.namespace == "shop"', True),
        Mistake("when: labels.namespace && labels.pod", "there is no `&&` here (write `and`)",
                "when: labels.namespace and labels.pod", True),
        Mistake('when: labels.alertname =~ "Kube.*"',
                "'=~' is an operator of PromQL (write `labels.alertname | regex_search(\"^(?:Kube.*)$\")`)",
                'when: labels.alertname | regex_search("^(?:Kube.*)$")', True),
        Mistake('when: labels.alertname.startswith("Kube")',
                'a text has no methods: .startswith() (write `labels.alertname | regex_search("^Kube")`)',
                'when: labels.alertname | regex_search("^Kube")', True, warning=True),
        Mistake("""when: "{{ labels.pod }}\"""", "a condition is an expression (leave the braces out)",
                "when: labels.pod", True),
        Mistake('when: eq .Labels.severity "warning"', f"'eq' {_GO} (write `labels.severity == \"warning\"`)",
                'when: labels.severity == "warning"', True),
    )),
    Section("Values", (
        Mistake('resourceName: "{{ labels.alertname.upper }}"',
                "a text has no 'upper' (write `labels.alertname | upper`, or labels[\"alertname.upper\"] for a label of that "
                "name)", 'resourceName: "{{ labels.alertname | upper }}"', "KUBEPODCRASHLOOPING"),
        Mistake("""resourceName: "{{ labels.pod.split('-')[0] }}\"""",
                "a text has no methods: .split() (write `labels.pod | regex_search(\"^([^-]*)\")` for the first part)",
                """resourceName: "{{ labels.pod | regex_search('^([^-]*)') }}\"""", "api", warning=True),
        Mistake('resourceName: "{{ labels.service.name }}"', "a text has no 'name' (write labels[\"service.name\"])",
                """resourceName: "{{ labels['service.name'] }}\"""", "checkout"),
        Mistake('resourceName: "{{ labels.node-name }}"',
                'labels.node-name is read as a calculation (write labels["node-name"])',
                """resourceName: "{{ labels['node-name'] }}\"""", "node-3"),
        Mistake("""resourceName: "{{ labels.get('team', 'ops') }}\"""",
                ".get is the value named 'get', not a method (write labels.team or \"ops\")",
                """resourceName: "{{ labels.team or 'ops' }}\"""", "ops"),
        Mistake('resourceName: "{{ labels }}"',
                "labels is a table, which is never sent (write labels.NAME, or for all `{% for name, value in labels | "
                "dictsort %}`)", 'resourceName: "{{ labels.pod }}"', "api-7d9c5b6f4c-x2x7k", warning=True),
        Mistake("""resourceName: '{{ labels.pod | regex_replace("^(.*)-[^-]+-[^-]+$", "\\1") }}'""",
                '\\1 is a control character in a text of Jinja2 (in single quotes write "\\\\1")',
                """resourceName: '{{ labels.pod | regex_replace("^(.*)-[^-]+-[^-]+$", "\\\\1") }}'""", "api", warning=True),
        Mistake("""resourceName: "{{ labels.pod | regex_search('\\\\bapi\\\\b') }}\"""",
                "\\b is a control character in a text of Jinja2 (in double quotes write '\\\\\\\\bapi\\\\\\\\b')",
                """resourceName: "{{ labels.pod | regex_search('\\\\\\\\bapi\\\\\\\\b') }}\"""", "api", warning=True),
        Mistake('resourceName: "{ labels.pod }"', "{ labels.pod } is plain text here (write {{ labels.pod }})",
                'resourceName: "{{ labels.pod }}"', "api-7d9c5b6f4c-x2x7k", warning=True),
        Mistake('resourceName: "${labels.pod}"', "${labels.pod} is plain text here (write {{ labels.pod }})",
                'resourceName: "{{ labels.pod }}"', "api-7d9c5b6f4c-x2x7k", warning=True),
        Mistake('resourceName: "$labels.pod"', "$labels.pod is plain text here (write {{ labels.pod }})",
                'resourceName: "{{ labels.pod }}"', "api-7d9c5b6f4c-x2x7k", warning=True),
        Mistake('resourceName: "%(pod)s"', "%(pod)s is plain text here (write {{ labels.pod }})",
                'resourceName: "{{ labels.pod }}"', "api-7d9c5b6f4c-x2x7k", warning=True),
        Mistake('lookup: {name: {shop: "{{ labels.pod }}"}}',
                "{{ labels.pod }} in a lookup table is plain text, never rendered (write the template in the field: "
                "{{ lookup.TABLE[labels.NAME] }} gives what the table holds)", "lookup: {name: {shop: web}}", "web",
                warning=True),
    )),
    Section("Names", (
        Mistake('resourceName: "{{ instance }}"', "unknown name 'instance' (write labels.instance)",
                'resourceName: "{{ labels.instance }}"', "node-3.example:9100"),
        Mistake('resourceName: "{{ summary }}"', "unknown name 'summary' (write annotations.summary)",
                'resourceName: "{{ annotations.summary }}"', "Pod restarts"),
        Mistake('resourceName: "{{ commonLabels.namespace }}"',
                "unknown name 'commonLabels' (write group.commonLabels)",
                'resourceName: "{{ group.commonLabels.namespace }}"', "shop"),
        Mistake('resourceName: "{{ status }}"', "unknown name 'status' (write alert.status)",
                'resourceName: "{{ alert.status }}"', "firing"),
        Mistake('resourceName: "{{ startsAt | localtime }}"', "unknown name 'startsAt' (write alert.startsAt)",
                'resourceName: "{{ alert.startsAt | localtime }}"', "2026-11-23 23:15:43"),
        Mistake('resourceName: "{{ receiver }}"', "unknown name 'receiver' (write group.receiver)",
                'resourceName: "{{ group.receiver }}"', "coc"),
        Mistake('resourceName: "{{ value }}"', f"unknown name 'value' ({_NO_VALUE})",
                'resourceName: "{{ annotations.value }}"', "17"),
        Mistake('resourceName: "{{ alert.labels.pod }}"', "alert has no 'labels' (write labels alone)",
                'resourceName: "{{ labels.pod }}"', "api-7d9c5b6f4c-x2x7k"),
    )),
    Section("Go templates, and other languages", (
        Mistake('resourceName: "{{ .Labels.pod }}"',
                ".Labels.pod is written as in Go templates (write labels.pod, without the leading .)",
                'resourceName: "{{ labels.pod }}"', "api-7d9c5b6f4c-x2x7k"),
        Mistake('resourceName: "{{ $labels.pod }}"',
                "$labels.pod is written as in Prometheus (write labels.pod, without the leading $)",
                'resourceName: "{{ labels.pod }}"', "api-7d9c5b6f4c-x2x7k"),
        Mistake("""resourceName: '{{ index .Annotations "summary" }}'""",
                "'index' is a function of Go templates (write annotations[\"summary\"])",
                """resourceName: '{{ annotations["summary"] }}'""", "Pod restarts"),
        Mistake("""resourceName: '{{ if eq .Status "firing" }}on{{ end }}'""",
                '`{{ if }}` is of Go templates (write {% if alert.status == "firing" %}...{% endif %})',
                """resourceName: '{% if alert.status == "firing" %}on{% endif %}'""", "on"),
        Mistake("resourceName: '{{ .Labels.severity | toUpper }}'",
                ".Labels.severity is written as in Go templates (write `labels.severity | upper`)",
                "resourceName: '{{ labels.severity | upper }}'", "WARNING"),
        Mistake("resourceName: '{{ labels.severity | toUpper }}'", "no filter named 'toUpper' (write `| upper`)",
                "resourceName: '{{ labels.severity | upper }}'", "WARNING"),
        Mistake("""resourceName: '{{ labels.team | default "ops" }}'""",
                "an argument of 'default' without parentheses, as in Go templates (write `| default(\"ops\")`)",
                """resourceName: '{{ labels.team | default("ops") }}'""", "ops"),
        Mistake("""resourceName: '{{ reReplaceAll "-.*" "" .Labels.pod }}'""",
                f"'reReplaceAll' {_GO} (write `labels.pod | regex_replace(\"-.*\", \"\")`)",
                """resourceName: '{{ labels.pod | regex_replace("-.*", "") }}'""", "api"),
        Mistake("""resourceName: '{{ printf "%s/%s" .Labels.namespace .Labels.pod }}'""",
                f"'printf' {_GO} (write `\"%s/%s\" | format(labels.namespace, labels.pod)`)",
                """resourceName: '{{ "%s/%s" | format(labels.namespace, labels.pod) }}'""", "shop/api-7d9c5b6f4c-x2x7k"),
        Mistake("""resourceName: '{{ .StartsAt.Format "2006-01-02 15:04:05" }}'""",
                '.StartsAt.Format is written as in Go templates (write alert.startsAt | localtime(format="%Y-%m-%d '
                '%H:%M:%S"))', """resourceName: '{{ alert.startsAt | localtime(format="%Y-%m-%d %H:%M:%S") }}'""",
                "2026-11-23 23:15:43"),
        Mistake("""resourceName: '{{ template "title" . }}'""",
                "'template' is of Go templates (there are no named templates: write the text in the field)",
                "resourceName: '{{ annotations.summary }}'", "Pod restarts"),
        Mistake("resourceName: '{{/* the pod */}}{{ labels.pod }}'",
                "a comment of Go templates (write {# the pod #})",
                "resourceName: '{# the pod #}{{ labels.pod }}'", "api-7d9c5b6f4c-x2x7k"),
        Mistake("resourceName: '{{ range .Alerts }}{{ .Labels.pod }}{{ end }}'",
                "a loop of Go templates (each alert is an alarm of its own here: write labels and annotations; for all "
                "labels {% for name, value in labels | dictsort %})",
                "resourceName: '{{ labels.pod }}'", "api-7d9c5b6f4c-x2x7k"),
        Mistake("""resourceName: "{% if labels.pod %}pod{% elseif labels.node %}node{% endif %}\"""",
                "'elseif' is written elif here (write {% elif labels.node %})",
                """resourceName: "{% if labels.pod %}pod{% elif labels.node %}node{% endif %}\"""", "pod"),
        Mistake("""resourceName: "{{ labels.pod ? 'pod' : 'node' }}\"""",
                "there is no `? :` here (write `'pod' if labels.pod else 'node'`)",
                """resourceName: "{{ 'pod' if labels.pod else 'node' }}\"""", "pod"),
        Mistake('resourceName: "{{ len(labels.pod) }}"', "unknown name 'len' (write `VALUE | length`)",
                'resourceName: "{{ labels.pod | length }}"', "20"),
    )),
    Section("Quotes and characters", (
        Mistake("resourceName: {{ labels.pod }}", "a template needs quotes around it (put the whole value in quotes)",
                'resourceName: "{{ labels.pod }}"', "api-7d9c5b6f4c-x2x7k"),
        Mistake('resourceName: "{{ labels.team | default("ops") }}"',
                "a double quote inside double quotes ends the text (inside write single quotes)",
                """resourceName: "{{ labels.team | default('ops') }}\"""", "ops"),
        Mistake('when: "api" in labels.pod',
                'a value that begins with " ends at the next " (put the whole value in single quotes)',
                """when: '"api" in labels.pod'""", True),
        Mistake("""resourceName: "{{ labels.pod | regex_replace('\\d+', '') }}\"""",
                "\\d in double quotes is an escape that YAML does not know (write \\\\\\\\d; in single quotes \\\\d)",
                """resourceName: "{{ labels.pod | regex_replace('\\\\\\\\d+', '') }}\"""", "api-dcbfc-xxk"),
        Mistake('resourceName："{{ labels.pod }}"', "'：' is not a colon to YAML (type ':' and a space)",
                'resourceName: "{{ labels.pod }}"', "api-7d9c5b6f4c-x2x7k"),
        Mistake("when: labels.severity == “warning”", "'“' is not punctuation of a template (type \")",
                'when: labels.severity == "warning"', True),
        Mistake("resourceName: “{{ labels.pod }}”",
                "“ and ” are typographic quotes, which become part of the value (type \")",
                'resourceName: "{{ labels.pod }}"', "api-7d9c5b6f4c-x2x7k", warning=True),
        Mistake("when: （labels.pod or labels.node）", "'（' is not punctuation of a template (type ()",
                "when: (labels.pod or labels.node)", True),
        Mistake("\u00a0resourceName: \"{{ labels.pod }}\"",
                "no-break space (U+00A0), which is no blank to YAML (type an ordinary space)",
                'resourceName: "{{ labels.pod }}"', "api-7d9c5b6f4c-x2x7k"),
        Mistake("when: labels.pod\u200b", "zero-width space (U+200B) (it cannot be seen: delete it, or type a space)",
                "when: labels.pod", True),
    )),
)  # fmt: skip

FILES = (
    ("a ConfigMap of Kubernetes", "apiVersion: v1\nkind: ConfigMap\ndata:\n  shop.yaml: |\n    rules: []\n",
     "this is a ConfigMap of Kubernetes, not a mapping file (keep what stands under `data:`, such as shop.yaml, in a file "
     "of its own)"),
    ("a PrometheusRule", "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nspec: {groups: []}\n",
     "this is a PrometheusRule of Kubernetes, not a mapping file (a mapping file has `rules:` with name, when and alarm)"),
    ("alerting rules of Prometheus", "groups:\n  - name: pods\n    rules: []\n",
     "this is a file of alerting rules of Prometheus, not a mapping file (a mapping file has `rules:` with name, when and "
     "alarm)"),
    ("an alerting rule among the rules", "rules:\n  - alert: PodDown\n    expr: up == 0\n",
     "this is an alerting rule of Prometheus (a mapping rule has name, when and alarm; `when` asks for labels.alertname)"),
    ("the configuration of Alertmanager", "route: {receiver: coc}\nreceivers: [{name: coc}]\n",
     "this is the configuration of Alertmanager, not a mapping file (a mapping file has `rules:` with name, when and "
     "alarm)"),
    ("adapter.yml", "integrations:\n  default: {site: cn}\n",
     "this is the configuration of the adapter, not a mapping file (it belongs in adapter.yml)"),
    ("cases of `coc-adapter test`", "tests:\n  - {name: a, alert: {labels: {alertname: A}}, expect: {rule: a}}\n",
     "this is a file of mapping tests, not a mapping file (move it into the folder tests/ beside the mapping files)"),
)  # fmt: skip
"""What the file is, its text, and what `check` says."""
ENCODINGS = (
    ("GBK", "rules:\n  - name: 告警\n".encode("gbk"), 2,
     "not UTF-8: byte 17 is not part of a character (it looks like GBK: save it as UTF-8)"),
    ("UTF-16", "rules: []\n".encode("utf-16"), 1, "not UTF-8: the file is UTF-16 (save it as UTF-8)"),
    ("UTF-16 without a mark", "rules: []\n".encode("utf-16-le"), 1, "not UTF-8: the file is UTF-16 (save it as UTF-8)"),
)  # fmt: skip
"""The encoding, bytes in it, the line, and what `check` says."""


def page() -> str:
    """docs/mapping-mistakes.md."""
    parts = [
        "# Mistakes people make in mapping files",
        "What `check` says of each, and what to write instead. A warning is marked: a set with warnings serves, and the log, the\n"
        "status and `integrations list` tell them until they are mended. Anything else refuses the set.",
    ]
    for title, mistakes in SECTIONS:
        rows = [(_code(one.written), _said(one.says, one.warning), _code(one.instead)) for one in mistakes]
        parts += [f"## {title}", _table(("written", "`check` says", "write"), rows)]
    files = [(what, _said(says)) for what, _, says in FILES]
    files += [(f"a file in {encoding}", _said(says)) for encoding, _, _, says in ENCODINGS]
    parts += ["## Files of another kind", _table(("among the mapping files", "`check` says"), files)]
    return "\n\n".join(parts) + "\n"


def _table(heading: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" if row else "|---" * len(heading) + "|" for row in (heading, (), *rows))


def _code(text: str) -> str:
    for char in "\u00a0\u200b":
        text = text.replace(char, f"<U+{ord(char):04X}>")
    text = text.replace("|", "\\|")
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def _said(says: str, warning: bool = False) -> str:
    return _code(f"warning: {says}" if warning else says)
