// Draws what the draft makes of the alerts: of one, of all, and of the tests.
import { ends, fallbacksOf, fieldsOf, kindsOf } from "./diff.js";
import { _, button, h, shown } from "./dom.js";

const LONGEST = 200; // characters of a value; the whole opens below

export function titleOf({ labels }) {
  return shown(labels.alertname ?? _("no alertname"), 80);
}

export function whereOf({ labels: { namespace, pod, deployment, instance, node, job } }) {
  return shown([namespace, pod ?? deployment ?? instance ?? node ?? job].filter(Boolean).join("/"), 80);
}

const flag = (kind, word) => h("span", { class: `flag ${kind}` }, word);

export function flags({ late, draft, changed } = {}) {
  return [
    late && flag("bad", _("not reached")),
    draft?.dropped && flag("bad", _("dropped")),
    draft?.fallbacks.length && flag("warn", _("falls back")),
    changed?.length && flag("", _("differs")),
  ].filter(Boolean);
}

const place = (goto, file, line) => button(`:${line}`, () => goto(file, line), { title: `${file}:${line}` });

// One alert: the rules tried, then field by field. goto(file, line) leads to the editor, lineOf(field) to {file, line}.
export function alertView({ serving, draft, late, tried }, goto, lineOf) {
  if (!draft) return h("p", { class: "warn" }, late ? _("The draft did not reach this alert.") : _("The draft cannot be used: see the findings."));
  const steps = tried.map(({ rule, file, line, taken, because }) =>
    h("li", { class: taken ? "good" : "soft" }, taken ? "✓ " : "✗ ", rule !== null && [h("b", {}, shown(rule)), " "], why(because), " ", file && place(goto, file, line)));
  const heads = [_("field"), _("serving"), _("draft"), _("line")].map((name) => h("th", { scope: "col" }, name));
  return [
    h("ol", { class: "tried", "aria-label": _("Rules tried") }, steps),
    draft.dropped && h("p", { class: "bad" }, _("The draft drops this alert: COC gets nothing.")),
    serving?.dropped && h("p", {}, _("What serves now drops this alert.")),
    h("table", { class: "fields" }, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, rows(serving, draft, goto, lineOf))),
  ];
}

function why({ args, text }) {
  const said = args.names?.map((read) => (read.value ? _("{name} is {value}", read) : _("{name} is empty", read))).join(", ");
  return shown(said || _(text), LONGEST);
}

function rows(serving, draft, goto, lineOf) {
  const [old, now, failed] = [fieldsOf(serving), fieldsOf(draft), fallbacksOf(draft)];
  const name = (field, fields) => field === "applicationId" && h("small", {}, " ", shown(fields.get("additional.application")));
  const row = (field) => {
    const [before, after, line] = [old.get(field), now.get(field), lineOf(field)];
    const same = before === after;
    const cut = same ? undefined : ends(String(before ?? ""), String(after ?? ""));
    return h("tr", { class: same ? "same" : "differs" },
      h("th", { scope: "row" }, shown(field)),
      h("td", { "data-label": _("serving") }, value(before, cut, "del"), name(field, old)),
      h("td", { "data-label": _("draft") },
        same ? h("span", { title: _("the same") }, "=") : ["≠ ", value(after, cut, "ins"), name(field, now)],
        failed.has(field) && flag("warn", `! ${_("fallback")}: ${_(failed.get(field))}`),
        draft.clipped.includes(field) && clipped(after, now.get(`additional.${field}`))),
      h("td", { "data-label": _("line") }, line ? place(goto, line.file, line.line) : h("small", {}, _("adapter"))));
  };
  const names = [...new Set([...now.keys(), ...old.keys(), ...failed.keys()])];
  const quiet = (field) => old.get(field) === now.get(field) && !failed.has(field) && !draft.clipped.includes(field);
  return names.sort((a, b) => quiet(a) - quiet(b)).map(row);
}

function clipped(after, whole) {
  if (whole === undefined) return flag("warn", _("clipped"));
  const text = _("clipped from {from} to {to}", { from: whole.length, to: after.length });
  return h("details", {}, h("summary", { class: "flag warn" }, text), shown(whole));
}

// cut: what the other side has in common with it, see `ends`; the rest is an element of that name.
function value(text, cut, name) {
  if (text === undefined) return h("small", {}, _("absent"));
  const whole = String(text), [start, end] = cut ?? [whole.length, 0];
  const rest = whole.slice(start, whole.length - end);
  const parts = [shown(whole.slice(0, start)), rest && h(name, {}, shown(rest)), shown(whole.slice(whole.length - end))];
  return whole.length <= LONGEST ? h("span", {}, parts) : h("details", {}, h("summary", {}, shown(whole, LONGEST)), parts);
}

// All alerts: one row per kind of difference, the gravest first. pick(place) shows that alert.
export function allView(results, items, pick) {
  const kinds = kindsOf(results);
  if (!kinds.length) return h("p", {}, _("Serving and draft make the same of all alerts."));
  return kinds.map((kind) => {
    const alerts = kind.at.map((at) => button([titleOf(items[at].alert), " ", h("small", {}, whereOf(items[at].alert))], () => pick(at)));
    return h("details", { "data-key": sentence(kind) },
      h("summary", { class: { dropped: "bad", fallback: "warn", late: "bad" }[kind.kind] ?? "" }, h("b", {}, kind.at.length), " ", sentence(kind)),
      h("ul", {}, alerts.map((one) => h("li", {}, one))));
  });
}

function sentence({ kind, field, from, to, rule, various }) {
  const short = (text) => (text === undefined ? _("absent") : shown(text, 60) || _("empty"));
  const values = { field: shown(field), rule: shown(rule ?? "-"), from: short(from), to: kind === "fallback" ? _(to) : short(to) };
  switch (kind) {
    case "dropped": return _("newly dropped: COC would no longer hear of them (rule {rule})", values);
    case "kept": return _("no longer dropped (rule {rule})", values);
    case "fallback": return _("{field} newly falls back: {to} (rule {rule})", values);
    case "late": return _("not reached");
  }
  return various ? _("{field}: various values (rule {rule})", values) : _("{field}: {from} → {to} (rule {rule})", values);
}

// The tests, failed ones first.
export function testsView(tests, goto) {
  if (!tests.length) return h("p", {}, _("No test has run. Choose an alert and make a test of it."));
  return h("ul", {}, [...tests].sort((a, b) => a.passed - b.passed).map((test) =>
    h("li", { class: test.passed ? "good" : "bad" }, test.passed ? `✓ ${_("passed")} ` : `✗ ${_("failed")} `,
      button(shown(test.name), () => goto(`tests/${test.file}`, test.line), { "data-key": `${test.file} ${test.name}` }), h("small", {}, ` ${shown(test.file)}`),
      !test.passed && h("pre", {}, shown(test.message)))));
}
