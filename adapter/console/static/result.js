// Draws what the draft makes of the alerts: of one, of all, and of the tests.
import { fallbacksOf, fieldsOf, kindsOf } from "./diff.js";
import { _, button, h, shown } from "./dom.js";

const LONGEST = 200; // characters of a value; the whole opens below

export function titleOf({ labels }) {
  return shown(labels.alertname ?? _("no alertname"), 80);
}

export function whereOf({ labels: { namespace, pod, deployment, instance, node, job } }) {
  return shown([namespace, pod ?? deployment ?? instance ?? node ?? job].filter(Boolean).join("/"), 80);
}

export function nameOf({ alert }) {
  return [titleOf(alert), " ", h("small", {}, whereOf(alert)), h("span", { class: "flags" })];
}

const flag = (kind, word) => h("span", { class: `flag ${kind}` }, word);

export function flags({ draft, changed } = {}) {
  return [
    draft?.dropped && flag("bad", _("dropped")),
    draft?.fallbacks.length && flag("warn", _("falls back")),
    changed?.length && flag("", _("differs")),
  ].filter(Boolean);
}

const place = (goto, file, line) => button(`:${line}`, () => goto(file, line), { title: `${file}:${line}` });

// One alert: the rules tried, then field by field. lineOf(field): {file, line} in the draft.
export function alertView({ serving, draft, late, tried }, goto, lineOf) {
  if (!draft) return h("p", { class: "warn" }, late ? _("The draft did not reach this alert.") : _("The draft cannot be used: see the findings."));
  const steps = tried.map(({ rule, file, line, taken, because }) =>
    h("li", { class: taken ? "good" : "soft" }, taken ? "✓ " : "✗ ", h("b", {}, shown(rule)), " ", why(because), " ", file && place(goto, file, line)));
  const heads = [_("field"), _("serving"), _("draft"), _("line")].map((name) => h("th", { scope: "col" }, name));
  return [
    h("ol", { class: "tried", "aria-label": _("Rules tried") }, steps),
    h("table", { class: "fields" }, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, rows(serving, draft, goto, lineOf))),
  ];
}

function why({ args, text }) {
  const said = args.names?.map((read) => (read.value ? _("{name} is {value}", read) : _("{name} is empty", read))).join(", ");
  return shown(said || _(text), LONGEST);
}

function rows(serving, draft, goto, lineOf) {
  const [old, now, failed] = [fieldsOf(serving), fieldsOf(draft), fallbacksOf(draft)];
  const cell = (side, field, name) => [value(side.get(field), name), field === "applicationId" && h("small", {}, " ", shown(side.get("additional.application")))];
  const quiet = (field) => old.get(field) === now.get(field) && !failed.has(field) && !draft.clipped.includes(field);
  const names = [...new Set([...now.keys(), ...old.keys(), ...failed.keys()])].sort((a, b) => quiet(a) - quiet(b));
  return names.map((field) => {
    const same = old.get(field) === now.get(field), line = lineOf(field);
    return h("tr", { class: same ? "same" : "differs" },
      h("th", { scope: "row" }, shown(field)),
      h("td", { "data-label": _("serving") }, cell(old, field, same ? "span" : "del")),
      h("td", { "data-label": _("draft") },
        same ? h("span", { title: _("the same") }, "=") : ["≠ ", ...cell(now, field, "ins")],
        failed.has(field) && flag("warn", `! ${_("fallback")}: ${_(failed.get(field))}`),
        draft.clipped.includes(field) && flag("warn", _("clipped from {from} to {to}", { from: now.get(`additional.${field}`)?.length ?? "?", to: now.get(field).length }))),
      h("td", { "data-label": _("line") }, line ? place(goto, line.file, line.line) : h("small", {}, _("adapter"))));
  });
}

function value(text, name) {
  if (text === undefined) return h("small", {}, _("absent"));
  const whole = h(name, {}, shown(text));
  return String(text).length <= LONGEST ? whole : h("details", {}, h("summary", {}, shown(text, LONGEST)), whole);
}

// All alerts: one row per kind of difference.
export function allView(results, items, pick) {
  const kinds = kindsOf(results);
  if (!kinds.length) return h("p", {}, _("Serving and draft make the same of all alerts."));
  return kinds.map((kind) =>
    h("details", { "data-key": sentence(kind) },
      h("summary", { class: { dropped: "bad", fallback: "warn", late: "bad" }[kind.kind] ?? "" }, h("b", {}, kind.at.length), " ", sentence(kind)),
      h("ul", {}, kind.at.map((at) => h("li", {}, button(nameOf(items[at]), () => pick(at)))))));
}

function sentence({ kind, field, from, to, rule, various }) {
  const short = (text) => (text === undefined ? _("absent") : shown(text, 60) || _("empty"));
  const values = { field: shown(field), rule: shown(rule ?? "-"), from: short(from), to: _(short(to)) };
  if (kind === "dropped") return _("newly dropped: COC would no longer hear of them (rule {rule})", values);
  if (kind === "fallback") return _("{field} newly falls back: {to} (rule {rule})", values);
  if (kind === "late") return _("not reached");
  return various ? _("{field}: various values (rule {rule})", values) : _("{field}: {from} → {to} (rule {rule})", values);
}

export function testsView(tests, goto) {
  if (!tests.length) return h("p", {}, _("No test has run. Choose an alert and make a test of it."));
  return h("ul", {}, [...tests].sort((a, b) => a.passed - b.passed).map(({ file, line, name, passed, message }) =>
    h("li", { class: passed ? "good" : "bad" }, passed ? `✓ ${_("passed")} ` : `✗ ${_("failed")} `,
      button(shown(name), () => goto(`tests/${file}`, line), { "data-key": `${file} ${name}` }), h("small", {}, ` ${shown(file)}`),
      !passed && h("pre", {}, shown(message)))));
}
