// On every page: refresh of the marked regions, local times, theme, keys. A page works without it.

const EVERY = 5000; // ms
const MISSED = 3; // refreshes without an answer until the page says so
const SVG = "http://www.w3.org/2000/svg";
const TYPED = "input, textarea, select";

const $ = (selector) => document.querySelector(selector);

/** A node from its JSON: a text, or [name, attributes, nodes]. */
function built(node, inSvg) {
  if (typeof node === "string") return document.createTextNode(node);
  const [name, attributes, nodes] = node;
  const svg = inSvg || name === "svg";
  const element = svg ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    // HTML lowers the names; SVG tells their cases apart.
    element.setAttribute(svg && key === "viewbox" ? "viewBox" : key, value);
  }
  element.append(...nodes.map((child) => built(child, svg)));
  return element;
}

export function isTyping() {
  const at = document.activeElement;
  return Boolean(at && (at.matches(TYPED) || at.isContentEditable));
}

/** Where the focus and the open details are, so that a region that is built again keeps them. */
function places(region) {
  const all = [...region.querySelectorAll("a, button, summary, tr[tabindex]")];
  const open = [...region.querySelectorAll("details[open][id]")].map((item) => item.id);
  return { focus: all.indexOf(document.activeElement), open };
}

const before = new Map(); // the JSON of each region

function swap(regions) {
  for (const [name, node] of Object.entries(regions)) {
    const region = $(`[data-region="${CSS.escape(name)}"]`);
    const json = JSON.stringify(node);
    if (!region || before.get(name) === json) continue;
    before.set(name, json);
    const { focus, open } = places(region);
    region.replaceChildren(...node[2].map((child) => built(child, false)));
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    if (focus >= 0) [...region.querySelectorAll("a, button, summary, tr[tabindex]")][focus]?.focus();
    makeLocal(region);
  }
}

let missed = 0;
let since = new Date();

async function refresh() {
  if (document.hidden || isTyping() || $("dialog[open], details.ask[open]") || String(getSelection())) return;
  try {
    const answer = await fetch(location.href, {
      headers: { Accept: "application/json" },
      signal: AbortSignal.timeout(EVERY - 500),
    });
    if (!answer.ok) throw new Error(answer.status);
    const regions = await answer.json();
    if (!isTyping()) swap(regions);
    missed = 0;
    since = new Date();
  } catch {
    missed += 1;
  }
  const stale = $("#stale");
  stale.hidden = missed < MISSED;
  document.body.classList.toggle("is-stale", !stale.hidden);
  stale.querySelector("span").textContent = since.toLocaleTimeString();
}

/** Times in the browser's zone, which the footer names; UTC in the title. */
function makeLocal(root) {
  const language = document.documentElement.lang;
  const today = new Date().toDateString();
  for (const item of root.querySelectorAll("time[datetime]")) {
    const at = new Date(item.dateTime);
    const day = at.toDateString() === today ? {} : { year: "numeric", month: "2-digit", day: "2-digit" };
    item.title = item.dateTime;
    item.textContent = at.toLocaleString(language, {
      ...day, hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
    });
  }
}

function setTheme(event) {
  event.preventDefault();
  const link = $("#theme");
  const root = document.documentElement;
  const names = ["auto", "light", "dark"];
  const theme = names[(names.indexOf(root.dataset.theme ?? "auto") + 1) % 3];
  if (theme === "auto") delete root.dataset.theme;
  else root.dataset.theme = theme;
  link.textContent = link.dataset[theme];
  const language = root.lang.slice(0, 2);
  document.cookie = `ui=${language}.${theme}; path=/ui/; max-age=31536000; samesite=strict`;
}

const GO = { o: "/ui/", a: "/ui/alarms", d: "/ui/dead-letters", m: "/ui/mappings" };
let going = false; // after a `g`

function toRow(step) {
  const rows = [...document.querySelectorAll("main tbody tr:not(.note) a:first-of-type")];
  if (!rows.length) return;
  const at = rows.findIndex((link) => link.closest("tr") === document.activeElement?.closest("tr"));
  const next = at < 0 && step < 0 ? rows.length - 1 : at + step;
  rows[Math.max(0, Math.min(next, rows.length - 1))].focus();
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping() || $("dialog[open]")) return;
  if (event.key !== "?" && localStorage.getItem("keys") === "off") return;
  const key = event.key;
  if (going && GO[key]) location.assign(GO[key]);
  else if (key === "?") $("#keys").showModal();
  else if (key === "/" && $("input[type=search]")) $("input[type=search]").focus();
  else if (key === "j") toRow(1);
  else if (key === "k") toRow(-1);
  else if (key !== "g") return;
  going = key === "g";
  event.preventDefault();
}

function start() {
  makeLocal(document);
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  $("#zone").textContent = zone;
  $("#theme").addEventListener("click", setTheme);
  const keys = $("#keys-on");
  keys.checked = localStorage.getItem("keys") !== "off";
  keys.addEventListener("change", () => localStorage.setItem("keys", keys.checked ? "on" : "off"));
  document.addEventListener("keydown", onKey);
  if ($("main [data-region]")) setInterval(refresh, EVERY);
}

start();
