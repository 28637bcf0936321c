// Writes an alert and what the draft makes of it as a case of a file of mapping tests.
import { HIDDEN } from "./dom.js";

// Fields and notes that the adapter adds by itself.
const OWN = ["alarmId", "alarmStatus", "time", "alarmSource"];
const NOTES = ["rule", "mapping", "mappingRevision", "fingerprint", "generatorURL", "externalURL", "fallback", "reconciled", "application"];
const PLAIN = /^(?!(?:y|n|yes|no|on|off|true|false|null|nan|inf)$)[a-z_](?:[\w ./-]*[\w./-])?$/i;

function scalar(value) {
  if (PLAIN.test(value)) return value;
  return JSON.stringify(value).replace(HIDDEN, (sign) => `\\U${sign.codePointAt(0).toString(16).padStart(8, "0")}`);
}

function lines(value, indent) {
  return Object.entries(value).flatMap(([key, item]) => {
    const head = `${indent}${scalar(key)}:`;
    if (Array.isArray(item)) return `${head} [${item.map(scalar).join(", ")}]`;
    if (typeof item !== "object") return `${head} ${scalar(item)}`;
    return Object.keys(item).length ? [head, ...lines(item, `${indent}  `)] : [];
  });
}

const without = (value, keys) => Object.fromEntries(Object.entries(value).filter(([key]) => !keys.includes(key)));

function expected({ rule, dropped, body, fallbacks, clipped }) {
  if (dropped) return { rule, dropped };
  const { additional, ...fields } = body;
  const alarm = { ...without(fields, OWN), additional: without(additional, [...NOTES, ...Object.keys(fields)]) };
  return { ...(rule && { rule }), alarm, fallbacks: fallbacks.map(({ field }) => field), ...(clipped.length && { clipped }) };
}

// The text of a file of cases with one more, and the line of its name. reads(name): whether any template reads it.
export function withCase(text, name, { alert, group, integration }, draft, reads) {
  const { labels, annotations, status, ...rest } = alert;
  const read = without(rest, Object.keys(rest).filter((key) => !reads(key)));
  const given = { labels, annotations, ...(status !== "firing" && { status }), ...read };
  const test = { alert: given, ...(reads("group") && { group }), ...(integration !== "default" && { integration }), expect: expected(draft) };
  const before = text?.trim() ? text.replace(/\n*$/, "\n\n") : "tests:\n";
  const indent = /^( *)- /m.exec(before)?.[1] ?? "  ";
  return { text: `${before}${indent}- name: ${scalar(name)}\n${lines(test, `${indent}  `).join("\n")}\n`, line: before.split("\n").length };
}
