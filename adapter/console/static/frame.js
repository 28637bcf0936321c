// On every page: local times, theme, keys. A page works without it.

const TYPED = "input, textarea, select";

export const $ = (selector) => document.querySelector(selector);

export function isTyping() {
  const at = document.activeElement;
  return Boolean(at && (at.matches(TYPED) || at.isContentEditable));
}

/** Times in the browser's zone, which the footer names; UTC in the title. */
export function makeLocal(root) {
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
}

start();
