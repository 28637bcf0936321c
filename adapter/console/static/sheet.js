// What a mapping may name: looked up, and inserted at the caret.
import { _, button, h, shown, ui } from "./dom.js";

const MOST = 40; // rows

// Returns what opens the sheet with the word before the caret.
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
    const text = [h("code", {}, shown(word)), " ", h("small", {}, `${kind}: ${shown(help, 160)}`)];
    return h("li", {}, button(text, () => (editor.insert(inserts, back), (back = 0))));
  }

  ui.wanted.addEventListener("input", () => (clearTimeout(timer), (timer = setTimeout(search, 200))));
  ui.sheet.addEventListener("toggle", () => ui.sheet.open && search());
  ui.sheet.addEventListener("keydown", (event) => {
    if (event.isComposing || (event.key !== "Escape" && !(event.key === "Enter" && event.target === ui.wanted))) return;
    event.preventDefault();
    if (event.key === "Enter") ui.words.querySelector("button")?.click();
    else editor.area.focus();
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
  const limits = ({ required, max, values }) => [required && _("required"), max && _("at most {max} characters", { max }), ...values];
  return [
    ...names.map(({ name, help }) => [_("name"), name, help]),
    ...filters.map(({ name, signature, help }) => [_("filter"), name, `${signature} ${help}`]),
    ...fields.map((one) => [_("field"), one.name, [...limits(one), one.help].filter(Boolean).join("; "), `${one.name}: `]),
  ];
}
