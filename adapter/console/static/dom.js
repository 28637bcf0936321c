// Builds the page from texts. Nothing takes markup, so that what an alert says stays text.

export const ui = Object.fromEntries(Array.from(document.querySelectorAll("[id]"), (one) => [one.id, one]));

const texts = JSON.parse(ui.texts.textContent);

// A text in the page's language; English is the key.
export function _(english, values = {}) {
  return (texts[english] ?? english).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

// A new element. What is false or undefined is left out, of attributes and children.
export function h(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value !== undefined && value !== false) made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child || child === 0));
  return made;
}

export function button(text, click, attributes = {}) {
  return h("button", { type: "button", click, ...attributes }, text);
}

// New children for a region; what has the same data-key stays open and focused.
export function swap(region, ...children) {
  const { activeElement } = document;
  const focused = region.contains(activeElement) && activeElement.dataset.key;
  const open = Array.from(region.querySelectorAll("details[open]"), (one) => one.dataset.key);
  region.replaceChildren(...children.flat().filter(Boolean));
  for (const one of region.querySelectorAll("[data-key]")) {
    if (open.includes(one.dataset.key)) one.open = true;
    if (focused === one.dataset.key) one.focus();
  }
}

export const HIDDEN = RegExp(
  String.raw`[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff` +
    String.raw`\ufff9-\ufffb\ud800-\udfff\u{e0000}-\u{e007f}]`,
  "gu",
);

// Text with what cannot be seen, or turns the text around, as its code: <U+202E>.
export function shown(value, most = Infinity) {
  const text = String(value ?? "");
  const cut = text.length > most ? `${text.slice(0, most - 1)}…` : text;
  return cut.replace(HIDDEN, (sign) => `<U+${sign.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}>`);
}
