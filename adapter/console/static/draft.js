// What an author has changed, kept in this browser: mapping files and tests, never alerts.
// Paths are as in a repository, such as tests/kubernetes.yaml. A text is null where there is no file.

const KEY = "coc-adapter.draft";

export const isTest = (path) => path.startsWith("tests/");

export class Draft {
  revision = ""; // that serves
  served = new Map();

  constructor() {
    this.read();
  }

  read() {
    let kept = {};
    try {
      kept = JSON.parse(localStorage.getItem(KEY)) ?? {};
    } catch {}
    this.base = kept.base ?? null; // the revision that the author began with
    this.entries = new Map(Object.entries(kept.entries ?? {})); // path -> {text, was}
  }

  // False when the browser keeps nothing.
  save() {
    if (!this.entries.size) this.base = this.revision;
    try {
      localStorage.setItem(KEY, JSON.stringify({ base: this.base, entries: Object.fromEntries(this.entries) }));
      return true;
    } catch {
      return false;
    }
  }

  // Takes what GET /api/v1/mappings says.
  serve({ revision, files, tests }) {
    this.revision = revision;
    this.served = new Map([...Object.entries(files), ...Object.entries(tests).map(([name, text]) => [`tests/${name}`, text])]);
    if (!this.entries.size) this.base = revision;
  }

  text(path) {
    const { text } = this.entries.get(path) ?? { text: this.served.get(path) };
    return text ?? null;
  }

  paths() {
    const all = [...new Set([...this.served.keys(), ...this.entries.keys()])];
    return all.sort((a, b) => isTest(a) - isTest(b) || (a < b ? -1 : 1));
  }

  // Text as an editor gives it, with plain line ends.
  set(path, text) {
    const { was } = this.entries.get(path) ?? { was: this.served.get(path) ?? null };
    if (was?.includes("\r\n")) text = text?.replace(/\r?\n/g, "\r\n") ?? null;
    if (text === was) this.entries.delete(path);
    else this.entries.set(path, { text, was });
    return this.save();
  }

  drop(path) {
    if (path) this.entries.delete(path);
    else this.entries.clear();
    this.save();
  }

  // The same texts as changes of what serves now.
  rebase() {
    this.base = this.revision;
    for (const [path, entry] of this.entries) {
      entry.was = this.served.get(path) ?? null;
      if (entry.text === entry.was) this.entries.delete(path);
    }
    this.save();
  }

  // The draft's part of POST /api/v1/mappings/try.
  request() {
    const texts = (paths, cut) => Object.fromEntries(paths.map((path) => [path.slice(cut), this.text(path)]));
    const tests = this.paths().filter((path) => isTest(path) && this.text(path) !== null);
    return { base: this.base, files: texts([...this.entries.keys()].filter((path) => !isTest(path)), 0), tests: texts(tests, 6) };
  }
}
