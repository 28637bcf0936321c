// A draft of the mappings, tried on alerts at each pause in typing. No mapping is written.
import { withCase } from "./case.js";
import { kindsOf, patch } from "./diff.js";
import { _, button, h, shown, swap, ui } from "./dom.js";
import { Draft, isTest } from "./draft.js";
import { Editor } from "./editor.js";
import {} from "./frame.js";
import { allView, alertView, flags, nameOf, testsView, titleOf, whereOf } from "./result.js";
import { sheet } from "./sheet.js";

const PAUSE = 250, AGAIN = 3000, LOOK = 10_000; // ms
const NAME = /^(tests\/)?[^/\s.][^/\\]*\.ya?ml$/i;
const client = crypto.getRandomValues(new Uint32Array(2)).join("-");
const form = ui.playground;
const draft = new Draft();
const editor = new Editor(ui.editor, typed);

let path = ui.path.textContent;
let items = []; // the alerts: {id, alert, integration}, and the group of a pasted one
let body = null; // a webhook body in place of recent alerts
let chosen = 0;
let answer = null, results = [], hits = {}; // of the last try; as the items; alerts by rule
let seq = 0, asking, timer;

async function ask(url, posted, signal) {
  const headers = { Accept: "application/json", ...(posted && { "Content-Type": "application/json" }) };
  const response = await fetch(url, { method: posted ? "POST" : "GET", headers, body: posted, signal });
  if (response.ok) return response.json();
  const { error } = await response.json().catch(() => ({}));
  const text = response.status === 401 ? _("Sign in again: reload this page. The draft is kept.") : error ?? response.statusText;
  throw Object.assign(Error(text), { status: response.status });
}

async function readMappings() {
  const before = draft.revision;
  draft.serve(await ask("/api/v1/mappings"));
  if (draft.revision === before) return;
  showMoved();
  if (answer) later(0);
}

async function readAlerts() {
  const source = form.elements.source.value;
  ui.filters.hidden = source !== "recent";
  ui.whose.hidden = source === "recent";
  ui.paste.hidden = source !== "body";
  ui.problem.textContent = "";
  [body, items, answer, results, chosen] = [null, [], null, [], 0];
  try {
    if (source !== "recent") await useBody(source === "body" ? ui.body.value : ui.samples.textContent);
    else {
      const wanted = new URLSearchParams();
      for (const { name, value } of ui.filters.querySelectorAll("select, [type=search], :checked")) if (value) wanted.set(name, value);
      items = await ask(`/api/v1/alerts/recent?${wanted}`);
      if (!items.length && wanted.size === 1) return form.querySelector("[value=samples]").click();
      const report = Number(new URLSearchParams(location.search).get("report"));
      chosen = Math.max(0, items.findIndex(({ id }) => id === report));
    }
  } catch (error) {
    const [, byte] = /byte (\d+)/.exec(error.message) ?? [];
    const before = new TextDecoder().decode(new TextEncoder().encode(ui.body.value).slice(0, byte));
    ui.problem.textContent = `${byte ? `${_("line")} ${before.split("\n").length}: ` : ""}${shown(error.message)}`;
  }
  ui.alerts.replaceChildren(...items.map((item, at) => h("li", {}, button(nameOf(item), () => pick(at)))));
  showResult();
  return tryNow();
}

// The adapter says what is broken.
async function useBody(text) {
  let data = {};
  try {
    data = JSON.parse(text || '{"alerts": []}');
  } catch {}
  if (!Array.isArray(data?.alerts)) await ask("/api/v1/mappings/render", text);
  const { alerts, ...group } = (body = data);
  items = alerts.map((alert) => ({ group, integration: ui.integration.value, alert: { labels: {}, annotations: {}, status: "firing", ...alert } }));
}

function typed() {
  if (!draft.set(path, editor.value)) ui.problem.textContent = _("This browser keeps nothing: take the draft out before you leave.");
  showFiles();
  later(PAUSE);
}

function later(milliseconds, action = tryNow) {
  clearTimeout(timer);
  timer = setTimeout(action, milliseconds);
}

async function tryNow() {
  clearTimeout(timer);
  asking?.abort();
  const mine = (asking = new AbortController());
  form.ariaBusy = true;
  const alerts = body ? { body } : { ids: items.map(({ id }) => id) };
  try {
    const integration = body ? ui.integration.value : null;
    const posted = { ...draft.request(), alerts, integration, seq: ++seq, client };
    const got = await ask("/api/v1/mappings/try", JSON.stringify(posted), mine.signal);
    if (mine === asking && !got.superseded) await take(got);
  } catch (error) {
    if (mine === asking) failed(error);
  }
  if (mine === asking) form.ariaBusy = false;
}

function failed(error) {
  const lost = error instanceof TypeError; // nobody answers
  say(lost ? _("No answer at {time}. The draft is kept.", { time: new Date().toLocaleTimeString() }) : shown(error.message), "bad");
  if (lost || error.status === 503) later(AGAIN, answer ? tryNow : begin);
}

async function take(got) {
  answer = got;
  const byId = new Map(got.results.map((result) => [result.id, result]));
  // A refused draft leaves the last results.
  if (!results.length || !got.refused) {
    hits = got.hits;
    results = items.map(({ id }, at) => (body ? got.results[at] : byId.get(id)));
  }
  if (got.serving !== draft.revision) await readMappings();
  show();
}

function say(textContent, className) {
  Object.assign(ui.summary, { textContent, className });
}

function show() {
  const { findings, tests, milliseconds } = answer;
  const errors = findings.filter(({ severity }) => severity === "error").length;
  const differ = results.filter((one) => one?.changed.length || one?.late).length;
  const broken = tests.filter(({ passed }) => !passed).length;
  const dropped = kindsOf(results).filter(({ kind }) => kind === "dropped").flatMap(({ at }) => at).length;
  const parts = [
    errors ? _("errors: {n}", { n: errors }) : findings.length ? _("warnings: {n}", { n: findings.length }) : _("checks ok"),
    _("{n} of {all} differ", { n: differ, all: items.length }),
    dropped && _("{n} newly dropped", { n: dropped }),
    broken ? _("tests failed: {n}", { n: broken }) : _("tests ok: {n}", { n: tests.length }),
  ];
  say(parts.filter(Boolean).join(" · "), errors || broken || dropped ? "bad" : "good");
  ui.took.textContent = `${milliseconds} ms`;
  ui.alerts.querySelectorAll(".flags").forEach((one, at) => one.replaceChildren(...flags(results[at])));
  showFindings();
  showResult();
}

function showFindings() {
  const all = findings();
  const names = isTest(path) || !answer ? [] : editor.lines.map((line) => /^\s*-?\s*name:\s*["']?(.*?)["']?\s*$/.exec(line)?.[1]);
  editor.show(all.filter(({ file }) => file === path), new Map(names.map((name, at) => [at + 1, name && (hits[name] ?? 0)])));
  swap(ui.findings, all.map(({ file, line, column, severity, message, hint }) => {
    const word = severity === "error" ? `x ${_("error")}` : `! ${_("warning")}`;
    const text = shown(`${word}: ${file}:${line}:${column} ${message}${hint && ` (${hint})`}`, 400);
    return h("li", { class: word[0] === "x" ? "bad" : "warn" }, button(text, () => goto(file, line, column), { "data-key": text }));
  }));
}

function showResult() {
  const item = items[chosen], tab = form.elements.view.value;
  ui.chosen.hidden = ui.below.hidden = tab !== "alert" || !item;
  ui.alerts.querySelectorAll("button").forEach((one, at) => (one.ariaCurrent = at === chosen));
  if (tab === "tests") swap(ui.view, testsView(answer?.tests ?? [], goto));
  else if (tab === "all") swap(ui.view, allView(results, items, pick));
  else if (item) showOne(item.alert, results[chosen]);
  ui.none.hidden = items.length > 0;
}

function showOne(alert, result) {
  ui.position.textContent = `${chosen + 1} / ${items.length}`;
  ui.title.textContent = titleOf(alert);
  ui.where.textContent = `${alert.status === "resolved" ? _("resolved") : _("firing")} ${whereOf(alert)}`;
  ui.make.disabled = !result?.draft;
  ui.came.textContent = shown(JSON.stringify(alert, null, 2));
  ui.sent.textContent = shown(JSON.stringify(result?.draft?.body, null, 2));
  const rule = result?.tried.find(({ taken, file }) => taken && file);
  swap(ui.view, result && alertView(result, goto, (field) => rule && lineOf(field, rule)));
}

function pick(at) {
  chosen = at;
  turn("alert");
  ui.alerts.children[at].scrollIntoView({ block: "nearest" });
}

function step(by) {
  if (items.length) pick((chosen + by + items.length) % items.length);
}

// Where the draft sets a field: in the rule that takes the alert, else in its file's defaults.
function lineOf(field, { file, line: rule }) {
  const lines = (draft.text(file) ?? "").split("\n");
  const key = RegExp(`^[^#]*(?:^|[\\s{,])["']?${field.replace("additional.", "").replace(/\W/g, "\\$&")}["']?:(?:\\s|$)`);
  const within = (from, end) => {
    const at = lines.findIndex((line, number) => number >= from && (key.test(line) || (number > from && end.test(line))));
    return key.test(lines[at]) && { file, line: at + 1 };
  };
  return within(rule - 1, /^\s*- |^\S/) || within(Math.max(0, lines.findIndex((line) => line.startsWith("defaults:"))), /^[^\s#]/);
}

function showMoved() {
  ui.serving.textContent = draft.revision;
  ui.base.textContent = draft.base;
  ui.moved.hidden = draft.base === draft.revision;
  if (draft.text(path)?.replaceAll("\r\n", "\n") !== editor.value) open(path);
  showFiles();
}

// Names of tests are relative to tests/.
function findings() {
  return (answer?.findings ?? []).map((one) => ({ ...one, file: one.test ? `tests/${one.file}` : one.file }));
}

function showFiles() {
  const paths = draft.paths(), n = draft.entries.size;
  swap(ui.files, paths.map((one) => {
    const changed = draft.entries.has(one) && h("span", { class: "flag" }, draft.text(one) === null ? _("removed") : _("changed"));
    return h("li", {}, button([shown(one), changed], () => open(one), { "data-key": one, "aria-current": one === path }));
  }));
  ui.kept.textContent = n ? _("draft: {n} of {all} files changed, kept in this browser", { n, all: paths.length }) : _("no draft");
  ui.out.disabled = ui.drop.disabled = !n;
  ui.revert.disabled = !draft.entries.has(path);
}

function open(wanted) {
  path = draft.paths().includes(wanted) ? wanted : draft.paths()[0];
  ui.path.textContent = shown(path);
  editor.value = draft.text(path) ?? "";
  showFiles();
  showFindings();
}

function goto(file, line, column) {
  toPane("editor");
  if (file !== path && draft.text(file) !== null) open(file);
  if (file === path) editor.goto(line, column);
}

function create() {
  const wanted = ui.name.value.trim();
  const fine = NAME.test(wanted) && draft.text(wanted) === null;
  ui.unnamed.textContent = fine ? "" : _("A new name ends in .yaml; a test's begins with tests/.");
  if (fine) change(wanted, isTest(wanted) ? "tests:\n" : "rules:\n", 2);
}

function change(file, text, line) {
  draft.set(file, text);
  open(file);
  goto(file, line);
  tryNow();
}

// Into the test file that is open, else tests/kubernetes.yaml for 30-kubernetes.yaml.
function makeTest() {
  const item = items[chosen], made = results[chosen].draft;
  const into = isTest(path) ? path : `tests/${(made.mapping ?? "rest.yaml").replace(/^\d+-/, "")}`;
  const sources = draft.paths().filter((one) => !isTest(one)).map((one) => draft.text(one)).join();
  const reads = (name) => RegExp(`\\b${name}\\b`).test(sources);
  const name = `${titleOf(item.alert)} ${whereOf(item.alert)}`.trim();
  const { text, line } = withCase(draft.text(into)?.replaceAll("\r\n", "\n"), name, item, made, reads);
  turn("tests");
  change(into, text, line);
}

function takeOut() {
  const folder = ui.folder.value.replace(/^\/+|\/+$/g, "");
  const within = (one) => (folder ? `${folder}/${one}` : one);
  const quoted = /[^\w./-]/.test(folder) ? `'${folder.replaceAll("'", "'\\''")}'` : folder || ".";
  const entries = [...draft.entries];
  ui.changed.replaceChildren(...entries.map(([one, { text }]) =>
    h("li", {}, shown(one), " ", text === null ? _("removed") : button(_("Download"), () => download(one.split("/").at(-1), text)))));
  ui.patch.value = ui.save.value = entries.map(([one, { text, was }]) => patch(within(one), was, text)).join("");
  ui.commands.value = ui.commands.defaultValue.replaceAll("FOLDER", quoted);
}

function download(name, text) {
  h("a", { href: URL.createObjectURL(new Blob([text])), download: name }).click();
}

function drop(one) {
  if (!confirm(one ? _("Undo all changes of {path}?", { path: one }) : _("Drop the whole draft? It is kept nowhere else."))) return;
  draft.drop(one);
  showMoved();
  tryNow();
}

function toPane(name, focus) {
  form.elements.pane.value = name;
  focus?.focus();
}

function turn(view) {
  form.elements.view.value = view;
  showResult();
}

function toFinding(by) {
  const order = (a, b) => by * (a.file < b.file ? -1 : a.file > b.file ? 1 : a.line - b.line || a.column - b.column);
  const all = findings().sort(order);
  const next = all.find((one) => order(one, { file: path, ...editor.caret }) > 0) ?? all[0];
  if (next) goto(next.file, next.line, next.column);
}

const KEYS = {
  "Ctrl+Enter": tryNow,
  F8: () => toFinding(1),
  "Shift+F8": () => toFinding(-1),
  "Alt+KeyJ": () => step(1),
  "Alt+KeyK": () => step(-1),
  "Alt+KeyI": () => toPane("left", ui.left),
  "Alt+KeyO": () => toPane("editor", ui.draft),
  "Alt+KeyP": () => toPane("result", ui.result),
  "Alt+KeyC": sheet(editor, ask),
};

const BUTTONS = {
  again: readAlerts, new: create, make: makeTest, revert: () => drop(path), drop: () => drop(), restart: () => drop(),
  compare: () => (draft.rebase(), showMoved(), tryNow()), remove: () => change(path, null, 1),
  previous: () => step(-1), next: () => step(1),
  out: () => (takeOut(), ui.dialog.showModal()), save: () => download("mappings.patch", ui.save.value),
  copy: () => (ui.patch.select(), document.execCommand("copy")), // without https there is no other way
};

function onKey(event) {
  const held = [(event.ctrlKey || event.metaKey) && "Ctrl+", event.altKey && "Alt+", event.shiftKey && "Shift+"];
  const action = KEYS[`${held.filter(Boolean).join("")}${event.code}`];
  if (!action || event.isComposing || document.querySelector("dialog[open]")) return;
  event.preventDefault();
  action();
}

function listen() {
  form.addEventListener("submit", (event) => (event.preventDefault(), tryNow()));
  for (const one of form.querySelectorAll("[name=source], #filters [name]")) one.addEventListener("change", readAlerts);
  for (const [id, action] of Object.entries(BUTTONS)) ui[id].addEventListener("click", action);
  for (const one of form.elements.view) one.addEventListener("change", showResult);
  ui.body.addEventListener("input", () => later(PAUSE, readAlerts));
  ui.folder.addEventListener("input", takeOut);
  document.addEventListener("selectionchange", () => (ui.caret.textContent = _("Ln {line} Col {column} · Esc Tab leaves", editor.caret)));
  document.addEventListener("keydown", onKey);
  window.addEventListener("storage", () => (draft.read(), showMoved(), later(PAUSE)));
}

async function begin() {
  try {
    await readMappings();
    open([...draft.entries.keys()][0] ?? path);
    await readAlerts();
  } catch (error) {
    failed(error);
  }
}

form.classList.add("live");
for (const one of form.querySelectorAll("[data-live]")) one.hidden = false;
ui.plain.remove();
listen();
begin();
setInterval(() => document.hidden || !answer || readMappings().catch(failed), LOOK); // serving may move
