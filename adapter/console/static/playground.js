// The playground: a draft of the mappings, tried on alerts at each pause in typing. It never writes a mapping.
import { withCase } from "./case.js";
import { kindsOf, patch } from "./diff.js";
import { _, button, h, shown, swap, ui } from "./dom.js";
import { Draft, isName, isTest } from "./draft.js";
import { Editor } from "./editor.js";
import { allView, alertView, flags, testsView, titleOf, whereOf } from "./result.js";
import { sheet } from "./sheet.js";

const PAUSE = 250, BUSY = 400, AGAIN = 3000, LOOK = 10_000; // milliseconds
const TABS = ["alert", "all", "tests"];
const FILTERS = ["limit", "rule", "text", "status", "fell_back"];
const client = crypto.getRandomValues(new Uint32Array(2)).join("-"); // tells this page from others
const form = ui.playground;
const draft = new Draft();
const editor = new Editor(ui.editor, typed);

let path = ui.path.textContent; // of the file in the editor
let items = []; // the alerts: {id, alert, integration}, and the group of a pasted one
let body = null; // a webhook body in place of recent alerts
let chosen = 0, tab = "alert"; // which alert, which view of the result
let answer = null, results = [], hits = {}; // of the last try; in the order of the items; alerts by rule
let seq = 0, asking, timer;

// Asking

async function ask(url, posted, signal) {
  const headers = { Accept: "application/json", ...(posted && { "Content-Type": "application/json" }) };
  const response = await fetch(url, { method: posted ? "POST" : "GET", headers, body: posted, signal });
  if (response.ok) return response.json();
  const { error } = await response.json().catch(() => ({}));
  const signIn = response.status === 401 && _("Sign in again: reload this page. The draft is kept.");
  throw Object.assign(new Error(signIn || error || response.statusText), { status: response.status });
}

async function readMappings() {
  draft.serve(await ask("/api/v1/mappings"));
  showMoved();
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
      const wanted = [...new FormData(form)].filter(([name, value]) => FILTERS.includes(name) && value);
      items = await ask(`/api/v1/alerts/recent?${new URLSearchParams(wanted)}`);
      if (!items.length && wanted.length === 1) return form.querySelector("[value=samples]").click();
    }
  } catch (error) {
    ui.problem.textContent = shown(error.message);
  }
  const texts = items.map(({ alert }) => [titleOf(alert), " ", h("small", {}, whereOf(alert)), h("span", { class: "flags" })]);
  ui.alerts.replaceChildren(...texts.map((text, at) => h("li", {}, button(text, () => pick(at)))));
  showResult();
  return tryNow();
}

// The adapter's own parser says where a body is broken.
async function useBody(text) {
  let data = {};
  try {
    data = JSON.parse(text || '{"alerts": []}');
  } catch {}
  if (!Array.isArray(data?.alerts)) await ask("/api/v1/mappings/render", text);
  const { alerts, ...group } = (body = data);
  items = alerts.map((alert) => ({ group, alert: { labels: {}, annotations: {}, status: "firing", ...alert } }));
}

// Trying

function typed() {
  const kept = draft.set(path, editor.value);
  showFiles();
  if (!kept) say(_("This browser keeps nothing: take the draft out before you leave."), "bad");
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
  const busy = setTimeout(() => (form.ariaBusy = true), BUSY);
  const alerts = body ? { body } : { ids: items.map(({ id }) => id) };
  try {
    const posted = { ...draft.request(), alerts, integration: body ? ui.integration.value : undefined, seq: ++seq, client };
    const got = await ask("/api/v1/mappings/try", JSON.stringify(posted), mine.signal);
    if (mine === asking && !got.superseded) await take(got);
  } catch (error) {
    if (mine === asking) failed(error);
  }
  clearTimeout(busy);
  if (mine === asking) form.ariaBusy = false;
}

function failed(error) {
  const lost = error instanceof TypeError; // nobody answers
  say(lost ? _("No answer at {time}. The draft is kept.", { time: new Date().toLocaleTimeString() }) : error.message, "bad");
  if (lost || error.status === 503) later(AGAIN, answer ? tryNow : begin);
}

async function take(got) {
  answer = got;
  const byId = new Map(got.results.map((result) => [result.id, result]));
  // A draft that is refused for the moment leaves what the one before it made.
  const refused = got.results.some((one) => !one.draft && !one.late);
  if (!refused || !results.length) {
    hits = got.hits;
    results = items.map(({ id }, at) => (body ? got.results[at] : byId.get(id)));
  }
  if (got.serving !== draft.serving.revision) await readMappings();
  show();
}

// Serving may have moved.
async function look() {
  if (document.hidden || !answer) return;
  try {
    const { mapping } = await ask("/api/v1/status");
    if (mapping.revision !== draft.serving.revision) await tryNow();
  } catch (error) {
    failed(error);
  }
}

// Showing

function say(text, kind) {
  ui.summary.textContent = shown(text);
  ui.summary.className = kind;
}

function show() {
  const { findings, tests, milliseconds } = answer;
  const errors = findings.filter(({ severity }) => severity === "error").length;
  const differ = results.filter((one) => one?.changed?.length || one?.late).length;
  const broken = tests.filter(({ passed }) => !passed).length;
  const dropped = kindsOf(results).filter(({ kind }) => kind === "dropped").flatMap(({ at }) => at).length;
  const parts = [
    errors ? _("errors: {n}", { n: errors }) : findings.length ? _("warnings: {n}", { n: findings.length }) : _("checks ok"),
    _("{n} of {all} differ", { n: differ, all: items.length }),
    dropped && _("{n} newly dropped", { n: dropped }),
    broken ? _("tests failed: {n}", { n: broken }) : _("tests ok: {n}", { n: tests.length }),
  ];
  say(parts.filter(Boolean).join(" · "), errors || broken || dropped ? "bad" : "good");
  ui.took.textContent = `${Math.round(milliseconds)} ms`;
  ui.all.textContent = `${_("all")} ${items.length}: ${_("{n} differ", { n: differ })}`;
  ui.tests.textContent = `${_("tests")}: ${broken ? _("{n} failed", { n: broken }) : `${tests.length} ok`}`;
  for (const [at, one] of ui.alerts.querySelectorAll(".flags").entries()) one.replaceChildren(...flags(results[at]));
  showFindings();
  showResult();
}

function showFindings() {
  const names = editor.lines.map((line) => /^\s*-?\s*name:\s*["']?(.*?)["']?\s*$/.exec(line)?.[1]);
  const counts = names.map((name, at) => [at + 1, name && answer && !isTest(path) ? hits[name] ?? 0 : undefined]);
  editor.show(findings().filter(({ file }) => file === path), new Map(counts));
  swap(ui.findings, findings().map(({ file, line, column, severity, message, hint }) => {
    const word = severity === "error" ? `x ${_("error")}` : `! ${_("warning")}`;
    const text = shown(`${word}: ${file}:${line}:${column} ${message}${hint && ` (${hint})`}`, 400);
    return h("li", { class: severity === "error" ? "bad" : "warn" }, button(text, () => goto(file, line, column), { "data-key": text }));
  }));
}

function showResult() {
  const item = items[chosen];
  for (const name of TABS) {
    ui[name].ariaSelected = name === tab;
    ui[name].tabIndex = name === tab ? 0 : -1;
  }
  ui.view.setAttribute("aria-labelledby", tab);
  ui.chosen.hidden = ui.below.hidden = tab !== "alert" || !item;
  for (const [at, one] of ui.alerts.querySelectorAll("button").entries()) one.ariaCurrent = at === chosen;
  if (tab === "tests") swap(ui.view, testsView(answer?.tests ?? [], goto));
  else if (!item) swap(ui.view, h("p", {}, _("There are no alerts here. Paste a webhook body, or take the samples.")));
  else if (tab === "all") swap(ui.view, allView(results, items, pick));
  else showOne(item.alert, results[chosen]);
}

function showOne(alert, result) {
  ui.position.textContent = `${chosen + 1} / ${items.length}`;
  ui.title.textContent = titleOf(alert);
  ui.where.textContent = `${alert.status === "resolved" ? _("resolved") : _("firing")} ${whereOf(alert)}`;
  ui.make.disabled = !result?.draft;
  ui.came.textContent = shown(JSON.stringify(alert, null, 2));
  ui.sent.textContent = shown(JSON.stringify(result?.draft?.body, null, 2));
  const step = result?.tried?.find(({ taken, file }) => taken && file);
  swap(ui.view, result && alertView(result, goto, (field) => step && lineOf(field, step)));
}

function pick(at) {
  [chosen, tab] = [at, "alert"];
  showResult();
  ui.alerts.children[at].scrollIntoView({ block: "nearest" });
}

function step(by) {
  if (items.length) pick((chosen + by + items.length) % items.length);
}

// Where the draft sets a field: in the rule that takes the alert, else in the defaults of its file.
function lineOf(field, { file, line: rule }) {
  const lines = (draft.text(file) ?? "").split("\n");
  const key = RegExp(`^[^#]*(?:^|[\\s{,])["']?${field.replace("additional.", "").replace(/\W/g, "\\$&")}["']?:(?:\\s|$)`);
  const within = (from, end) => {
    for (let at = from; at < lines.length && !(at > from && end.test(lines[at])); at++) if (key.test(lines[at])) return { file, line: at + 1 };
  };
  const defaults = lines.findIndex((line) => line.startsWith("defaults:"));
  return within(rule - 1, /^\s*- |^\S/) ?? (defaults < 0 ? undefined : within(defaults, /^[^\s#]/));
}

function showMoved() {
  ui.serving.textContent = draft.serving.revision;
  ui.base.textContent = draft.base;
  ui.moved.hidden = !draft.moved;
  const text = draft.text(path)?.replaceAll("\r\n", "\n");
  if (text !== editor.value) open(path);
  showFiles();
}

// Files

function findings() {
  return (answer?.findings ?? []).map((one) => ({ ...one, file: one.test ? `tests/${one.file}` : one.file }));
}

function showFiles() {
  const paths = draft.paths();
  const n = draft.entries.size;
  swap(ui.files, paths.map((one) => {
    const changed = draft.entries.has(one) && h("span", { class: "flag" }, draft.text(one) === null ? _("removed") : _("changed"));
    return h("li", {}, button([shown(one), changed], () => open(one), { "data-key": one, "aria-current": one === path }));
  }));
  ui.kept.textContent = n ? _("draft: {n} of {all} files changed, kept in this browser", { n, all: paths.length }) : _("no draft");
  ui.out.disabled = ui.drop.disabled = !n;
  ui.revert.disabled = !draft.entries.has(path);
  ui.remove.disabled = draft.text(path) === null;
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
  const fine = isName(wanted) && draft.text(wanted) === null;
  ui.unnamed.textContent = fine ? "" : _("A new name ends in .yaml; a test's begins with tests/.");
  if (!fine) return;
  draft.set(wanted, isTest(wanted) ? "tests:\n" : "rules:\n");
  goto(wanted, 2);
  later(PAUSE);
}

// Into the test file that is open, else into that of the rule's file: 30-kubernetes.yaml has tests/kubernetes.yaml.
function makeTest() {
  const item = items[chosen], made = results[chosen].draft;
  const into = isTest(path) ? path : `tests/${(made.mapping ?? "rest.yaml").replace(/^\d+-/, "")}`;
  const sources = draft.paths().filter((one) => !isTest(one)).map((one) => draft.text(one)).join();
  const reads = (name) => RegExp(`\\b${name}\\b`).test(sources);
  const name = `${titleOf(item.alert)} ${whereOf(item.alert)}`.trim();
  const { text, line } = withCase(draft.text(into)?.replaceAll("\r\n", "\n"), name, item, made, reads);
  draft.set(into, text);
  open(into);
  goto(into, line);
  turn("tests");
  tryNow();
}

// Taking out

function takeOut() {
  const folder = ui.folder.value.replace(/^\/+|\/+$/g, "");
  const within = (one) => (folder ? `${folder}/${one}` : one);
  const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
  const entries = [...draft.entries];
  ui.changed.replaceChildren(...entries.map(([one, { text }]) =>
    h("li", {}, shown(one), " ", text === null ? _("removed") : button(_("Download"), () => download(one.split("/").at(-1), text)))));
  ui.patch.value = entries.map(([one, { text, was }]) => patch(within(one), was, text)).join("");
  const files = draft.paths().filter((one) => !isTest(one) && draft.text(one) !== null);
  ui.commands.value = [
    "git apply mappings.patch",
    ...["check", "test", "diff --recent=200"].map((verb) => `coc-adapter ${verb} --mappings=${quoted(folder || ".")}`),
    "kubectl create configmap coc-adapter-mappings \\",
    ...files.map((one) => `  --from-file=${quoted(within(one))} \\`),
    "  --dry-run=client -o yaml | kubectl apply -f -", "",
  ].join("\n");
}

function download(name, text) {
  const url = URL.createObjectURL(new Blob([text]));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), AGAIN);
}

function copy(area) {
  area.select();
  document.execCommand("copy"); // the clipboard's own interface is there with https only
}

function drop(one) {
  if (!confirm(one ? _("Undo all changes of {path}?", { path: one }) : _("Drop the whole draft? It is kept nowhere else."))) return;
  draft.drop(one);
  showMoved();
  tryNow();
}

// Keys, buttons

function toPane(name, focus) {
  form.dataset.pane = name;
  for (const one of form.querySelectorAll(".switch button")) one.ariaPressed = one.dataset.pane === name;
  if (focus) (name === "editor" ? ui.draft : form.querySelector(`.${name}`)).focus();
}

function turn(to) {
  tab = to;
  showResult();
}

// The next finding after the caret, or the one before it, over all files.
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
  "Alt+KeyI": () => toPane("left", true),
  "Alt+KeyO": () => toPane("editor", true),
  "Alt+KeyP": () => toPane("result", true),
  "Alt+KeyC": sheet(editor, ask),
};

const BUTTONS = {
  again: readAlerts, new: create, make: makeTest, revert: () => drop(path), drop: () => drop(), restart: () => drop(),
  compare: () => (draft.rebase(), showMoved(), tryNow()), remove: () => (draft.set(path, null), open(path), tryNow()),
  previous: () => step(-1), next: () => step(1), alert: () => turn("alert"), all: () => turn("all"), tests: () => turn("tests"),
  out: () => (takeOut(), ui.dialog.showModal()), save: () => download("mappings.patch", ui.patch.value),
  "copy-patch": () => copy(ui.patch), "copy-commands": () => copy(ui.commands),
};

function onKey(event) {
  const held = [(event.ctrlKey || event.metaKey) && "Ctrl+", event.altKey && "Alt+", event.shiftKey && "Shift+"];
  const arrow = event.target.role === "tab" && { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const action = KEYS[`${held.filter(Boolean).join("")}${event.code}`];
  if (event.isComposing || document.querySelector("dialog[open]")) return;
  if (arrow) {
    turn(TABS.at((TABS.indexOf(tab) + arrow) % TABS.length));
    ui[tab].focus();
  } else if (action) {
    event.preventDefault();
    action();
  }
}

function listen() {
  form.addEventListener("submit", (event) => (event.preventDefault(), event.submitter && tryNow()));
  for (const one of form.querySelectorAll("[name=source], #filters [name]")) one.addEventListener("change", readAlerts);
  for (const [id, action] of Object.entries(BUTTONS)) ui[id].addEventListener("click", action);
  for (const one of form.querySelectorAll(".switch button")) one.addEventListener("click", () => toPane(one.dataset.pane));
  ui.body.addEventListener("input", () => later(PAUSE, readAlerts));
  ui.folder.addEventListener("input", takeOut);
  document.addEventListener("selectionchange", () => (ui.caret.textContent = _("Ln {line} Col {column} · Esc Tab leaves", editor.caret)));
  document.addEventListener("keydown", onKey);
  window.addEventListener("storage", () => (draft.read(), showMoved(), later(PAUSE))); // another tab
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
toPane("editor");
begin();
setInterval(look, LOOK);
