// What a mapping may name: looked up by its text, inserted at the caret.
import { _, button, h, shown, ui } from "./dom.js";

const MOST = 40, PAUSE = 200; // rows, milliseconds

// ask(url) asks the adapter. Returns what opens the sheet with the word before the caret.
export function sheet(editor, ask) {
  let language, timer;
  let back = 0; // characters before the caret that the chosen word replaces
  const wanted = () => ui.wanted.value.trim().toLowerCase();

  async function search() {
    const text = wanted();
    language ??= words(await ask("/api/v1/mappings/language"));
    const found = await ask(`/api/v1/applications?limit=10&text=${encodeURIComponent(text)}`);
    if (text !== wanted()) return;
    const named = found.map(({ id, way, type }) => [_("application"), way, `${id} ${type}`]);
    const rows = [...language.filter((row) => row.join(" ").toLowerCase().includes(text)), ...named];
    rows.sort((a, b) => b[1].toLowerCase().startsWith(text) - a[1].toLowerCase().startsWith(text));
    ui.words.replaceChildren(...rows.slice(0, MOST).map(row));
  }

  function row([kind, word, help, inserts = word]) {
    const text = [h("code", {}, shown(word, 80)), " ", h("small", {}, `${kind}: ${shown(help, 160)}`)];
    return h("li", {}, button(text, () => (editor.insert(inserts, back), (back = 0))));
  }

  ui.wanted.addEventListener("input", () => (clearTimeout(timer), (timer = setTimeout(search, PAUSE))));
  ui.sheet.addEventListener("toggle", () => ui.sheet.open && search());
  ui.sheet.addEventListener("keydown", (event) => {
    const all = [ui.wanted, ...ui.words.querySelectorAll("button")];
    const here = all.indexOf(document.activeElement);
    if (event.isComposing || here < 0) return;
    if (event.key === "Enter" && !here) all[1]?.click();
    else if (event.key === "ArrowDown") all[Math.min(here + 1, all.length - 1)].focus();
    else if (event.key === "ArrowUp") all[Math.max(here - 1, 0)].focus();
    else if (event.key === "Escape") editor.area.focus();
    else return;
    event.preventDefault();
  });
  return () => {
    const word = /[\p{L}\p{N}_.]*$/u.exec(editor.value.slice(0, editor.area.selectionStart))[0];
    back = document.activeElement === editor.area ? word.length : 0;
    ui.wanted.value = back ? word : "";
    ui.sheet.open = true;
    ui.wanted.focus();
    search();
  };
}

function words({ names, filters, fields }) {
  const limits = ({ required, max, values }) => [required && _("required"), max && _("at most {max} characters", { max }), values?.join(", ")];
  return [
    ...names.map(({ name, help }) => [_("name"), name, help]),
    ...filters.map(({ name, signature, help }) => [_("filter"), name, `${signature} ${help}`]),
    ...fields.map((one) => [_("field"), one.name, [...limits(one), one.help].filter(Boolean).join("; "), `${one.name}: `]),
  ];
}
