// What differs: between two lists, between two texts as a patch, and between serving and draft over many alerts.

const MOST_EDITS = 2000; // lists further apart count as wholly different
const AROUND = 3; // lines of a patch before and after a change

// Where two lists differ, in order: [from, to] of the first and [from, to] of the second (Myers' algorithm).
export function changes(a, b) {
  const [start, end] = ends(a, b);
  const [endA, endB] = [a.length - end, b.length - end];
  const found = [];
  let [atA, atB] = [start, start];
  for (const [x, y] of [...common(a.slice(start, endA), b.slice(start, endB)), [endA - start, endB - start]]) {
    const [nextA, nextB] = [start + x, start + y];
    if (nextA > atA || nextB > atB) found.push([atA, nextA, atB, nextB]);
    [atA, atB] = [nextA + 1, nextB + 1];
  }
  return found;
}

// The pairs of places that hold the same, in order.
function common(a, b) {
  const most = Math.min(a.length + b.length, MOST_EDITS);
  const furthest = new Int32Array(2 * most + 3), middle = most + 1;
  const steps = [];
  for (let edits = 0; edits <= most; edits++) {
    steps.push(furthest.slice(middle - edits - 1, middle + edits + 2));
    for (let k = -edits; k <= edits; k += 2) {
      const down = k === -edits || (k !== edits && furthest[middle + k - 1] < furthest[middle + k + 1]);
      let x = down ? furthest[middle + k + 1] : furthest[middle + k - 1] + 1;
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x++;
      furthest[middle + k] = x;
      if (x >= a.length && x - k >= b.length) return backwards(steps, a.length, b.length);
    }
  }
  return [];
}

function backwards(steps, x, y) {
  const pairs = [];
  for (let edits = steps.length - 1; edits >= 0; edits--) {
    const before = (k) => steps[edits][k + edits + 1];
    const k = x - y;
    const down = k === -edits || (k !== edits && before(k - 1) < before(k + 1));
    const fromX = edits ? before(down ? k + 1 : k - 1) : 0;
    const fromY = edits ? fromX - (down ? k + 1 : k - 1) : 0;
    const [bendX, bendY] = edits ? [fromX + (down ? 0 : 1), fromY + (down ? 1 : 0)] : [0, 0];
    while (x > bendX && y > bendY) pairs.push([--x, --y]);
    [x, y] = [fromX, fromY];
  }
  return pairs.reverse();
}

// A part of a patch that `git apply` takes, for one file; null stands for no file.
export function patch(path, before, after) {
  const [a, b] = [before, after].map((text) => (text ?? "").match(/[^\n]*\n|[^\n]+$/g) ?? []);
  const lines = [`diff --git ${name("a", path)} ${name("b", path)}\n`];
  if (before === null) lines.push("new file mode 100644\n");
  if (after === null) lines.push("deleted file mode 100644\n");
  const hunks = together(changes(a, b)).map((hunk) => printed(hunk, a, b));
  if (hunks.length) {
    lines.push(`--- ${before === null ? "/dev/null" : name("a", path, "\t")}\n`);
    lines.push(`+++ ${after === null ? "/dev/null" : name("b", path, "\t")}\n`);
  }
  return [...lines, ...hunks.flat()].join("");
}

// As Git writes a name: quoted where it must be, and one with blanks ends with a tab.
function name(side, path, ending = "") {
  const whole = `${side}/${path}`;
  return /["\\]/.test(whole) ? JSON.stringify(whole) : whole + (whole.includes(" ") ? ending : "");
}

function together(found) {
  const hunks = [];
  for (const change of found) {
    const last = hunks.at(-1)?.at(-1);
    if (last && change[0] - last[1] <= 2 * AROUND) hunks.at(-1).push(change);
    else hunks.push([change]);
  }
  return hunks;
}

function printed(hunk, a, b) {
  const from = Math.max(0, hunk[0][0] - AROUND), to = Math.min(a.length, hunk.at(-1)[1] + AROUND);
  const shift = hunk[0][2] - hunk[0][0];
  const lines = [];
  let at = from;
  for (const [fromA, toA, fromB, toB] of hunk) {
    lines.push(...a.slice(at, fromA).map((line) => ` ${line}`));
    lines.push(...a.slice(fromA, toA).map((line) => `-${line}`), ...b.slice(fromB, toB).map((line) => `+${line}`));
    at = toA;
  }
  lines.push(...a.slice(at, to).map((line) => ` ${line}`));
  const added = lines.filter((line) => line[0] !== "-").length;
  const place = (start, count) => `${count ? start + 1 : start},${count}`;
  const head = `@@ -${place(from, to - from)} +${place(from + shift, added)} @@\n`;
  return [head, ...lines.map((line) => (line.endsWith("\n") ? line : `${line}\n\\ No newline at end of file\n`))];
}

// How much two lists or texts have in common at their beginnings and ends.
export function ends(a, b) {
  const most = Math.min(a.length, b.length);
  let start = 0, end = 0;
  while (start < most && a[start] === b[start]) start++;
  while (end < most - start && a.at(-1 - end) === b.at(-1 - end)) end++;
  return [start, end];
}

// The fields of a rendered alert on one level, without the note that differs with each revision.
export function fieldsOf(rendered) {
  const { additional = {}, ...fields } = rendered?.body ?? {};
  const own = Object.entries(additional).filter(([key]) => key !== "mappingRevision");
  return new Map([...Object.entries(fields), ...own.map(([key, value]) => [`additional.${key}`, value])]);
}

export function fallbacksOf(rendered) {
  return new Map((rendered?.fallbacks ?? []).map(({ field, reason }) => [field, reason]));
}

// dropped: an alarm that is reported now would not be; fallback: a new one; kept: no longer dropped.
const KINDS = ["dropped", "fallback", "late", "kept", "changed"];
const MOST_PAIRS = 3; // of values of one field and rule; more become one row without values

function differences({ serving, draft, late, changed = [] } = {}) {
  if (!draft) return late ? [{ kind: "late" }] : [];
  const [from, to] = [serving?.rule, draft.rule];
  if (serving?.dropped !== draft.dropped) return [{ kind: draft.dropped ? "dropped" : "kept", from, to, rule: to ?? from }];
  const [had, old, now] = [fallbacksOf(serving), fieldsOf(serving), fieldsOf(draft)];
  const fallen = [...fallbacksOf(draft)].filter(([field]) => !had.has(field));
  return [
    ...fallen.map(([field, why]) => ({ kind: "fallback", field, to: why, rule: to })),
    ...changed.map((field) => ({ kind: "changed", field, ...(field === "rule" ? { from, to } : { from: old.get(field), to: now.get(field) }), rule: to })),
  ];
}

// One row per kind of difference, newly dropped alarms first: {kind, field, from, to, rule, at: places of the results}.
export function kindsOf(results) {
  const all = results.flatMap((result, at) => differences(result).map((one) => ({ ...one, at })));
  const rows = [...Map.groupBy(all, ({ kind, field, rule }) => JSON.stringify([kind, field, rule])).values()].flatMap((alike) => {
    const pairs = [...Map.groupBy(alike, ({ from, to }) => JSON.stringify([from, to])).values()];
    const folded = pairs.length > MOST_PAIRS ? [alike] : pairs;
    return folded.map((group) => ({ ...group[0], various: folded !== pairs, at: group.map(({ at }) => at) }));
  });
  return rows.sort((a, b) => KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind) || b.at.length - a.at.length);
}
