// What differs: between two texts as a patch, and between serving and draft over many alerts.

const MOST_CELLS = 4_000_000; // larger lists count as wholly different
const AROUND = 3; // lines of a patch before and after a change

// Where two lists differ, in order: [from, to] of the first and [from, to] of the second.
export function changes(a, b) {
  let start = 0, end = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  while (end < a.length - start && end < b.length - start && a.at(-1 - end) === b.at(-1 - end)) end++;
  const [left, right] = [a, b].map((list) => list.slice(start, list.length - end));
  const found = [];
  let [atA, atB] = [start, start];
  for (const [x, y] of [...common(left, right), [left.length, right.length]]) {
    if (start + x > atA || start + y > atB) found.push([atA, start + x, atB, start + y]);
    [atA, atB] = [start + x + 1, start + y + 1];
  }
  return found;
}

// The places of a longest common subsequence.
function common(a, b) {
  const row = b.length + 1, pairs = [];
  if (a.length * b.length > MOST_CELLS) return pairs;
  const best = new Uint32Array((a.length + 1) * row); // of what is left of both from there on
  for (let x = a.length - 1; x >= 0; x--) {
    for (let y = b.length - 1; y >= 0; y--) {
      const at = x * row + y;
      best[at] = a[x] === b[y] ? best[at + row + 1] + 1 : Math.max(best[at + row], best[at + 1]);
    }
  }
  for (let x = 0, y = 0; x < a.length && y < b.length; ) {
    if (a[x] === b[y]) pairs.push([x++, y++]);
    else if (best[(x + 1) * row + y] >= best[x * row + y + 1]) x++;
    else y++;
  }
  return pairs;
}

// A part of a patch for `git apply`; null stands for no file.
export function patch(path, before, after) {
  const [a, b] = [before, after].map((text) => (text ?? "").match(/[^\n]*\n|[^\n]+$/g) ?? []);
  const mode = before === null ? "new file mode 100644\n" : after === null ? "deleted file mode 100644\n" : "";
  const names = `--- ${before === null ? "/dev/null" : name("a", path, "\t")}\n+++ ${after === null ? "/dev/null" : name("b", path, "\t")}\n`;
  const hunks = together(changes(a, b)).flatMap((hunk) => printed(hunk, a, b));
  return [`diff --git ${name("a", path)} ${name("b", path)}\n`, mode, hunks.length ? names : "", ...hunks].join("");
}

// Git ends a name with blanks by a tab.
function name(side, path, ending = "") {
  const whole = `${side}/${path}`;
  return /["\\]/.test(whole) ? JSON.stringify(whole) : whole + (whole.includes(" ") ? ending : "");
}

function together(found) {
  const hunks = [];
  for (const change of found) {
    if (change[0] - hunks.at(-1)?.at(-1)[1] <= 2 * AROUND) hunks.at(-1).push(change);
    else hunks.push([change]);
  }
  return hunks;
}

function printed(hunk, a, b) {
  const from = Math.max(0, hunk[0][0] - AROUND), to = Math.min(a.length, hunk.at(-1)[1] + AROUND);
  const lines = [];
  let at = from;
  for (const [fromA, toA, fromB, toB] of [...hunk, [to, to, 0, 0]]) {
    lines.push(...a.slice(at, fromA).map((line) => ` ${line}`));
    lines.push(...a.slice(fromA, toA).map((line) => `-${line}`), ...b.slice(fromB, toB).map((line) => `+${line}`));
    at = toA;
  }
  const place = (start, count) => `${count ? start + 1 : start},${count}`;
  const added = lines.filter((line) => line[0] !== "-").length;
  const head = `@@ -${place(from, to - from)} +${place(from + hunk[0][2] - hunk[0][0], added)} @@\n`;
  return [head, ...lines.map((line) => (line.endsWith("\n") ? line : `${line}\n\\ No newline at end of file\n`))];
}

// On one level, without the note that always differs.
export function fieldsOf(rendered) {
  const { rule, dropped, body } = rendered ?? {};
  const { additional, ...fields } = body ?? {};
  const { mappingRevision, ...own } = additional ?? {};
  const notes = Object.entries(own).map(([key, value]) => [`additional.${key}`, value]);
  return new Map([...Object.entries({ rule: rule ?? undefined, dropped, ...fields }), ...notes]);
}

export function fallbacksOf(rendered) {
  return new Map(rendered?.fallbacks.map(({ field, reason }) => [field, reason]));
}

const KINDS = ["dropped", "fallback", "late", "changed"]; // fallback: a new one
const MOST_PAIRS = 3; // of values of one field and rule; more become one row without values

function differences({ serving, draft, late, changed } = {}) {
  if (!draft) return late ? [{ kind: "late" }] : [];
  const rule = draft.rule;
  if (draft.dropped && !serving?.dropped) return [{ kind: "dropped", rule }];
  const [had, old, now] = [fallbacksOf(serving), fieldsOf(serving), fieldsOf(draft)];
  const fallen = [...fallbacksOf(draft)].filter(([field]) => !had.has(field));
  return [
    ...fallen.map(([field, to]) => ({ kind: "fallback", field, to, rule })),
    ...changed.map((field) => ({ kind: "changed", field, from: old.get(field), to: now.get(field), rule })),
  ];
}

// One row per kind of difference, the gravest first: {kind, field, from, to, rule, at: places of the results}.
export function kindsOf(results) {
  const by = (rows, ...keys) => [...Map.groupBy(rows, (row) => JSON.stringify(keys.map((key) => row[key]))).values()];
  const all = results.flatMap((result, at) => differences(result).map((one) => ({ ...one, at })));
  const rows = by(all, "kind", "field", "rule").flatMap((alike) => {
    const pairs = by(alike, "from", "to");
    const various = pairs.length > MOST_PAIRS;
    return (various ? [alike] : pairs).map((group) => ({ ...group[0], various, at: group.map(({ at }) => at) }));
  });
  return rows.sort((a, b) => KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind) || b.at.length - a.at.length);
}
