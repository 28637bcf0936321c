// A text area over a coloured copy of its visible lines: the browser keeps caret, selection, undo and input methods.
import { h } from "./dom.js";

const TOKENS = RegExp(
  String.raw`(?<comment>(?:^|(?<=\s))#.*$)|(?<text>"(?:[^"\\{}]|\\.)*"|'[^'{}]*')|(?<brace>\{[{%#]-?|-?[}%#]\}` +
    String.raw`|\b(?:and|or|not|if|else|endif|for|in|set)\b)|(?<name>\|\s*\w+|\b(?:labels|annotations|alert|group|lookup)\b)`,
  "g",
);
const KEY = /^(\s*(?:- )?)([\w.-]+|"[^"]*"):(?=\s|$)/;
const LONGEST = 2000; // characters of a coloured line
const SPARE = 8; // lines beyond what is visible

function spansOf(line) {
  if (line.length > LONGEST) return [];
  const [, before, key] = KEY.exec(line) ?? [];
  const start = key ? before.length + key.length : 0;
  const tokens = Array.from(line.slice(start).matchAll(TOKENS), ({ 0: text, index, groups }) => [
    start + index, start + index + text.length, Object.keys(groups).find((kind) => groups[kind]),
  ]);
  return key ? [[before.length, start, "key"], ...tokens] : tokens;
}

// Columns count characters from 1.
function offsetOf(line, column) {
  return Array.from(line).slice(0, column - 1).join("").length;
}

function markOf(line, { column, severity }) {
  const from = column ? offsetOf(line, column) : line.search(/\S|$/);
  const length = column ? /^[\w.]+|^.?/u.exec(line.slice(from))[0].length : line.length;
  return [Math.min(from, line.length - 1), Math.min(from + Math.max(length, 1), line.length), `mark ${severity}`];
}

export class Editor {
  marks = new Map(); // line -> findings
  hits = new Map(); // line -> how many alerts its rule takes
  leaving = false;

  // changed() is called after each edit, but not inside of a composition.
  constructor(root, changed) {
    this.area = root.querySelector("textarea");
    [this.gutter, this.copy] = root.querySelectorAll(".gutter, .copy");
    const edited = (event) => (this.read(), event.isComposing || changed());
    for (const name of ["input", "compositionend"]) this.area.addEventListener(name, edited);
    this.area.addEventListener("keydown", (event) => this.key(event));
    this.area.addEventListener("scroll", () => this.paint());
    new ResizeObserver(() => this.paint()).observe(this.area);
    this.read();
  }

  get value() {
    return this.area.value;
  }

  set value(text) {
    this.area.value = text;
    this.area.setSelectionRange(0, 0);
    this.area.scrollTop = this.area.scrollLeft = 0;
    this.read();
  }

  show(findings, hits) {
    this.marks = Map.groupBy(findings, ({ line }) => Math.max(1, line));
    this.hits = hits;
    this.paint();
  }

  goto(line, column = 1) {
    const at = Math.min(Math.max(1, line), this.lines.length) - 1;
    const place = this.lines.slice(0, at).join("\n").length + (at > 0) + offsetOf(this.lines[at], column);
    this.area.focus();
    this.area.setSelectionRange(place, place);
    this.area.scrollTop = at * this.height() - this.area.clientHeight / 3;
  }

  get caret() {
    const before = this.value.slice(0, this.area.selectionEnd).split("\n");
    return { line: before.length, column: Array.from(before.at(-1)).length + 1 };
  }

  // Replaces the selection, and so many characters before it; can be undone.
  insert(text, back = 0) {
    this.area.focus();
    this.area.setSelectionRange(this.area.selectionStart - back, this.area.selectionEnd);
    document.execCommand(text ? "insertText" : "delete", false, text);
  }

  read() {
    this.lines = this.value.split("\n");
    this.paint();
  }

  height() {
    return parseFloat(getComputedStyle(this.area).lineHeight);
  }

  paint() {
    const { scrollTop, scrollLeft, clientHeight } = this.area;
    const first = Math.max(0, Math.floor(scrollTop / this.height()) - SPARE);
    const visible = this.lines.slice(first, first + Math.ceil(clientHeight / this.height()) + 2 * SPARE);
    const down = first * this.height() - scrollTop;
    this.copy.replaceChildren(...visible.map((text, at) => this.line(text, this.marks.get(first + at + 1))));
    this.copy.style.transform = `translate(${-scrollLeft}px, ${down}px)`;
    this.gutter.replaceChildren(...visible.map((text, at) => this.number(first + at + 1)));
    this.gutter.style.transform = `translateY(${down}px)`;
  }

  line(text, findings = []) {
    const spans = [...spansOf(text), ...findings.map((finding) => markOf(text, finding))];
    const cuts = [...new Set([0, text.length, ...spans.flatMap(([from, to]) => [from, to])])].sort((a, b) => a - b);
    const parts = cuts.slice(1).map((to, at) => {
      const kinds = spans.filter(([begin, end]) => begin <= cuts[at] && to <= end).map(([, , kind]) => kind);
      return h("span", { class: kinds.join(" ") }, text.slice(cuts[at], to));
    });
    const said = findings.map(({ severity, message, hint }) => h("span", { class: `said ${severity}` }, message, hint && ` (${hint})`));
    return h("div", { class: "line" }, parts, said);
  }

  number(line) {
    const found = this.marks.get(line) ?? [];
    const sign = found.some(({ severity }) => severity === "error") ? "x" : found.length ? "!" : "";
    const hits = this.hits.get(line);
    return h("div", { class: "line" }, hits !== undefined && h("span", { class: hits ? "hits" : "hits none" }, hits), h("b", {}, sign), ` ${line}`);
  }

  key(event) {
    if (event.isComposing || event.keyCode === 229 || event.ctrlKey || event.altKey || event.metaKey) return;
    const tab = event.key === "Tab" && !this.leaving;
    if (tab || event.key === "Enter") event.preventDefault();
    if (tab) this.indent(event.shiftKey);
    else if (event.key === "Enter") this.newLine();
    if (event.key !== "Shift") this.leaving = event.key === "Escape";
  }

  newLine() {
    const line = this.value.slice(0, this.area.selectionStart).split("\n").at(-1);
    this.insert(`\n${/^ */.exec(line)[0]}${/:(\s+[>|][+-]?)?\s*$/.test(line) ? "  " : ""}`);
  }

  indent(less) {
    const { value, selectionStart: start, selectionEnd: end } = this.area;
    if (start === end && !less) return this.insert("  ");
    const from = value.lastIndexOf("\n", start - 1) + 1;
    const to = end + value.slice(end).search(/\n|$/);
    const text = value.slice(from, to);
    const moved = less ? text.replace(/^ {1,2}/gm, "") : text.replace(/^(?=.)/gm, "  ");
    const caret = Math.max(from, start + moved.length - text.length);
    this.area.setSelectionRange(from, to);
    this.insert(moved);
    this.area.setSelectionRange(...(start === end ? [caret, caret] : [from, from + moved.length]));
  }
}
