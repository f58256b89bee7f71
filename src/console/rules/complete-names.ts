import type { Completion, CompletionContext, CompletionSource } from "@codemirror/autocomplete";
import { type NamesWanted, namesWantedAt } from "./names-wanted.ts";
import type { RuleNames } from "./rule-names.ts";

/** A key that is not a path, but replaces the keys of a map. */
const isMap = (path: string): boolean => path.endsWith(".*") || path === "*";
/** A text that YAML reads as it is, as a key and in a list. */
const PLAIN = /^[A-Za-z_][\w.-]*$/;
const WORDS = /^(?:true|false|null|yes|no|on|off|y|n)$/i;

/** The completion of CodeMirror, from the names of collections, fields and claims that the node knows. */
export const completeNames =
  (names: RuleNames): CompletionSource =>
  async ({ state, pos, explicit }: CompletionContext) => {
    const before = state.sliceDoc(0, pos);
    const wanted = namesWantedAt(before);
    if (wanted === null || (wanted.word === "" && !explicit)) return null;
    const from = pos - wanted.word.length;
    const [, quote = ""] = /(["'])$/.exec(before.slice(0, before.length - wanted.word.length)) ?? [];
    const isClosed = quote !== "" && state.sliceDoc(pos, pos + 1) === quote;
    const proposals = await proposalsFor(wanted, names);
    if (proposals.length === 0) return null;
    const options = proposals.map(({ label, detail = "", boost = 0 }) => ({
      label,
      detail,
      boost,
      apply: written(label, wanted, { quote, isClosed }),
    }));
    return { from, options, validFor: wanted.kind === "claim" ? /^%%[\w.:]*$/ : /^[\p{L}\p{N}_.-]*$/u };
  };

async function proposalsFor(wanted: NamesWanted, names: RuleNames): Promise<Completion[]> {
  if (wanted.kind === "claim") {
    const known = await names.of(null);
    const claims = known?.claims.filter((claim) => !isMap(claim)) ?? [];
    return claims.map((claim) => ({ label: claim.replace("%%", `%%${wanted.conversion}`) }));
  }
  if (wanted.kind === "collection") {
    const known = await names.of(null);
    const { collections = [], stored = [] } = known ?? {};
    // A key names a collection for clients. Behind it is one of the database.
    const labels = wanted.isKey ? new Set([...collections, ...stored]) : stored;
    return Array.from(labels, (label) => ({ label }));
  }
  const { collection, below } = wanted;
  const known = await names.of(collection);
  const fields = known?.fields?.filter(({ path }) => path.startsWith(below) && !isMap(path)) ?? [];
  return fields.map(({ path, types }) => {
    const label = path.slice(below.length);
    // A short path before the paths below it.
    return { label, detail: types.join(", "), boost: -label.split(".").length };
  });
}

/** The text in the place of the word. YAML reads no plain text that begins with `%`. */
function written(
  label: string,
  wanted: NamesWanted,
  { quote, isClosed }: { readonly quote: string; readonly isClosed: boolean },
): string {
  const end = isClosed ? "" : quote;
  if (quote === '"') return JSON.stringify(label).slice(1, -1) + end;
  if (quote === "'") return label.replaceAll("'", "''") + end;
  const isPlain = wanted.kind !== "claim" && PLAIN.test(label) && !WORDS.test(label);
  const text = isPlain ? label : JSON.stringify(label);
  return wanted.kind !== "claim" && wanted.isKey ? `${text}: ` : text;
}
