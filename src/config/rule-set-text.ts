/**
 * The text of rule sets: taken from a file, kept in the database, and written to a file again. Comments and layout of
 * the author are kept where the text still means the same on its own.
 */
import { Document, isMap, isScalar, type Node, type Pair, parseDocument } from "yaml";
import type { RuleTestFile } from "../rules/rule-test-options.ts";
import { readConfigText } from "./config-text.ts";

/** Begins the file of a rule set. */
export const COLLECTIONS_KEY = "collections:\n";

/** The keys of a file of rule tests. */
const TEST_KEYS = ["now", "given", "tests"] as const;

/** Wider lines would be folded, which changes comments and long texts for no reason. */
const LAYOUT = { lineWidth: 0 } as const;

/**
 * Takes the value under `collections` out of a configuration.
 * @param value The value of the whole text, with the environment filled in.
 */
export const collectionsText = (text: string, value: unknown): string =>
  sectionText(
    text,
    valueUnder(value, "collections"),
    (document) => document.get("collections", true) as Node,
  );

/** Takes the keys of a file of tests out of a text that may contain others. */
export function testsText(text: string, value: unknown): string {
  const kept = Object.fromEntries(
    TEST_KEYS.map((key) => [key, valueUnder(value, key)]).filter(([, item]) => item !== undefined),
  );
  if (!("tests" in kept)) return "";
  const keep = (document: Document): Node | null => {
    const { contents } = document;
    if (!isMap(contents)) return null;
    contents.items = contents.items.filter(({ key }) =>
      TEST_KEYS.includes(nameOf(key) as (typeof TEST_KEYS)[number]),
    );
    return contents;
  };
  return sectionText(text, kept, keep);
}

/**
 * Joins the values of several files of tests. The documents and the time of a file become those of each of its tests.
 * @returns The text of one file.
 */
export function joinTests(files: readonly RuleTestFile[]): string {
  const tests = files.flatMap((file) =>
    file.tests.map((test) => {
      const own = test.given ?? {};
      const ownNames = new Set(Object.keys(own).map(lastPart));
      const others = Object.entries(file.given ?? {}).filter(([name]) => !ownNames.has(lastPart(name)));
      const given = { ...Object.fromEntries(others), ...own };
      const now = test.now ?? file.now;
      return {
        ...test,
        ...(now === undefined ? {} : { now }),
        ...(Object.keys(given).length === 0 ? {} : { given }),
      };
    }),
  );
  return new Document(escaped({ tests })).toString(LAYOUT);
}

/** A collection may be named with its database or without. */
const lastPart = (name: string) => name.slice(name.indexOf(".") + 1);

/** The file that an admin edits: the collections and tests of a set, and the set from which the edit starts. */
export function ruleSetFile(
  set: { readonly number: number; readonly collections: string; readonly tests: string },
  comment: string,
): string {
  const document = new Document({ parent: set.number });
  document.commentBefore = comment;
  const collections = parseDocument(set.collections, { stringKeys: true, resolveKnownTags: false });
  document.set("collections", collections.contents);
  const written = `${document.toString(LAYOUT)}`;
  return set.tests === "" ? written : `${written}\n${set.tests}`;
}

/**
 * The part of a text that `select` finds. Parts of the text that were defined elsewhere in it, such as anchors and
 * variables, are written out.
 */
function sectionText(text: string, value: unknown, select: (document: Document) => Node | null): string {
  if (value === undefined) return "";
  const verbatim = verbatimText(text, select);
  // A text that reads the same on its own keeps its comments and its layout.
  if (verbatim !== null && JSON.stringify(readConfigText(verbatim, "", {}).value) === JSON.stringify(value))
    return verbatim;
  return new Document(escaped(value)).toString(LAYOUT);
}

function verbatimText(text: string, select: (document: Document) => Node | null): string | null {
  const document = parseDocument(text, { stringKeys: true, resolveKnownTags: false, uniqueKeys: false });
  const node = select(document as Document);
  if (node === null || node === undefined) return null;
  try {
    const alone = new Document(null);
    alone.contents = node;
    return alone.toString(LAYOUT).replace(/^\n+/, "");
  } catch {
    return null; // an alias whose anchor is elsewhere
  }
}

/** Variables were filled in already, so the characters of a variable are plain text. */
function escaped(value: unknown): unknown {
  if (typeof value === "string") return value.split("${").join("$${");
  if (Array.isArray(value)) return value.map(escaped);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, escaped(item)]));
}

const nameOf = (key: Pair["key"]): string => (isScalar(key) ? String(key.value) : String(key));

function valueUnder(value: unknown, name: string): unknown {
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return undefined;
  return (value as Record<string, unknown>)[name]; // the condition has checked that it is an object with this key
}
