// What an author has changed, kept in this browser: mapping files and tests, and what they were. Never alerts.
// Paths are as in a repository: 30-kubernetes.yaml, tests/kubernetes.yaml.

const KEY = "coc-adapter.draft";
const NAME = /^(tests\/)?[^/\\.\s][^/\\\x00-\x1f\x7f]*\.ya?ml$/i;

export const isTest = (path) => path.startsWith("tests/");
export const isName = (path) => NAME.test(path);

export class Draft {
  serving = { revision: "", texts: new Map() };

  constructor() {
    this.read();
  }

  read() {
    let kept = {};
    try {
      kept = JSON.parse(localStorage.getItem(KEY)) ?? {};
    } catch {} // what is kept cannot be used
    this.base = kept.base ?? null; // the revision that the author began with
    this.entries = new Map(Object.entries(kept.entries ?? {})); // path -> {text, was}; null where there is no file
  }

  // False when the browser keeps nothing.
  save() {
    if (!this.entries.size) this.base = this.serving.revision;
    try {
      localStorage.setItem(KEY, JSON.stringify({ base: this.base, entries: Object.fromEntries(this.entries) }));
      return true;
    } catch {
      return false;
    }
  }

  // Takes what GET /api/v1/mappings says.
  serve({ revision, files, tests }) {
    const named = Object.entries(tests).map(([name, text]) => [`tests/${name}`, text]);
    this.serving = { revision, texts: new Map([...Object.entries(files), ...named]) };
    if (!this.entries.size) this.base = revision;
  }

  // Whether other mappings serve than those the author began with.
  get moved() {
    return this.base !== this.serving.revision;
  }

  served(path) {
    return this.serving.texts.get(path) ?? null;
  }

  text(path) {
    return this.entries.has(path) ? this.entries.get(path).text : this.served(path);
  }

  paths() {
    const all = [...new Set([...this.serving.texts.keys(), ...this.entries.keys()])];
    return all.sort((a, b) => isTest(a) - isTest(b) || (a < b ? -1 : 1));
  }

  // Text as an editor gives it, with plain line ends; null takes the file away.
  set(path, text) {
    const { was } = this.entries.get(path) ?? { was: this.served(path) };
    const now = was?.includes("\r\n") ? text?.replace(/\r?\n/g, "\r\n") ?? null : text;
    if (now === was) this.entries.delete(path);
    else this.entries.set(path, { text: now, was });
    return this.save();
  }

  drop(path) {
    if (path) this.entries.delete(path);
    else this.entries.clear();
    this.save();
  }

  // The same texts as changes of what serves now.
  rebase() {
    this.base = this.serving.revision;
    for (const [path, entry] of this.entries) {
      entry.was = this.served(path);
      if (entry.text === entry.was) this.entries.delete(path);
    }
    this.save();
  }

  // The draft's part of POST /api/v1/mappings/try.
  request() {
    const files = [...this.entries].filter(([path]) => !isTest(path)).map(([path, { text }]) => [path, text]);
    const tests = this.paths().filter((path) => isTest(path) && this.text(path) !== null).map((path) => [path.slice(6), this.text(path)]);
    return { base: this.base, files: Object.fromEntries(files), tests: Object.fromEntries(tests) };
  }
}
