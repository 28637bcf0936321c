// The script of a page of regions: builds them again from their JSON, every few seconds.
import { $, isTyping, makeLocal } from "./frame.js";

const EVERY = 5000; // ms
const MISSED = 3; // refreshes without an answer until the page says so
const SVG = "http://www.w3.org/2000/svg";

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

if ($("main [data-region]")) setInterval(refresh, EVERY);
