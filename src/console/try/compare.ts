import type { AnswerOf } from "../../admin/api/endpoints.ts";
import { count } from "../ui/numbers.ts";

type Answer = AnswerOf<"tryAs">;
/** The outcome under one set of rules. */
export type Outcome = Omit<Answer, "draft" | "user">;
/** The user of a connection that was tried. */
export type TriedUser = NonNullable<Answer["user"]>;
/** Documents of an outcome. */
type Documents = NonNullable<Outcome["documents"]>;

/** How a document differs between the two outcomes. `undecided`: one of the lists does not reach it. */
export type Mark = "same" | "differs" | "only-in-force" | "only-draft" | "undecided";

/** A document in both outcomes. */
export interface ComparedDocument {
  /** Its `_id`, as JSON. */
  readonly key: string;
  /** `null` where it is not shown. */
  readonly inForce: Fields | null;
  readonly draft: Fields | null;
  readonly mark: Mark;
}

/** A document by its fields. */
export type Fields = Readonly<Record<string, unknown>>;

const NONE: Documents = { shown: [], hasMore: false };

/** The documents of two outcomes, side by side in their common order. */
export function compareDocuments(
  inForce: Documents | null,
  draft: Documents | null,
): readonly ComparedDocument[] {
  const [left, right] = [listOf(inForce ?? NONE), listOf(draft ?? NONE)];
  const rows: ComparedDocument[] = [];
  let next = 0;
  const putLonely = (until: string | null) => {
    // Documents of the draft alone come where the draft has them.
    for (; next < right.keys.length; next++) {
      const key = right.keys[next] ?? "";
      if (key === until) break;
      if (!left.byKey.has(key)) rows.push(lonely(key, right, left, "only-draft"));
    }
  };
  for (const key of left.keys) {
    if (!right.byKey.has(key)) {
      rows.push(lonely(key, left, right, "only-in-force"));
      continue;
    }
    putLonely(key);
    const pair = { inForce: left.byKey.get(key) ?? {}, draft: right.byKey.get(key) ?? {} };
    rows.push({ key, ...pair, mark: sameJson(pair.inForce, pair.draft) ? "same" : "differs" });
  }
  putLonely(null);
  return rows;
}

interface Listed {
  readonly keys: readonly string[];
  readonly byKey: ReadonlyMap<string, Fields>;
  readonly hasMore: boolean;
}

function listOf({ shown, hasMore }: Documents): Listed {
  const byKey = new Map<string, Fields>();
  for (const [at, document] of shown.entries()) {
    const fields = document as Fields; // the node answers with objects
    // A rule may hide the _id.
    byKey.set("_id" in fields ? JSON.stringify(fields["_id"]) : `${at}.`, fields);
  }
  return { keys: [...byKey.keys()], byKey, hasMore };
}

function lonely(
  key: string,
  own: Listed,
  other: Listed,
  mark: "only-in-force" | "only-draft",
): ComparedDocument {
  const fields = own.byKey.get(key) ?? {};
  const sides = mark === "only-draft" ? { inForce: null, draft: fields } : { inForce: fields, draft: null };
  return { key, ...sides, mark: isDecided(key, own, other) ? mark : "undecided" };
}

/** Whether the other list is certain not to contain the document. Both are the first documents by `_id`. */
function isDecided(key: string, own: Listed, other: Listed): boolean {
  if (!other.hasMore) return true;
  const end = [...other.byKey.values()].at(-1)?.["_id"];
  const order = compareIds(own.byKey.get(key)?.["_id"], end);
  return order !== null && order < 0;
}

/** The order of two `_id`s in MongoDB; `null` if the page does not know it. */
function compareIds(a: unknown, b: unknown): number | null {
  const [left, right] = [orderedId(a), orderedId(b)];
  if (typeof left === "number" && typeof right === "number") return left - right;
  if (typeof left !== "string" || typeof right !== "string") return null;
  return left < right ? -1 : left > right ? 1 : 0;
}

/** The value of an `_id` by which it is ordered: a number, an ASCII text, or the digits of an ObjectId. */
function orderedId(id: unknown): number | string | null {
  if (typeof id === "number") return id;
  if (typeof id === "string") return /^[ -~]*$/.test(id) ? `"${id}` : null;
  if (typeof id !== "object" || id === null || !("$oid" in id)) return null;
  // Texts come before ObjectIds, as in MongoDB.
  return `$${String(id.$oid)}`;
}

/** The fields that one document has and the other lacks, or has with another value. */
export function differingFields(document: Fields | null, other: Fields | null): ReadonlySet<string> {
  if (document === null || other === null) return new Set();
  return new Set(Object.keys(document).filter((name) => !sameJson(document[name], other[name])));
}

const sameJson = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

/** The differences in one sentence; `null` if the documents are the same as far as they are listed. */
export function differenceText(rows: readonly ComparedDocument[]): string | null {
  const timesOf = (mark: Mark) => rows.filter((row) => row.mark === mark).length;
  const parts = [
    [timesOf("only-draft"), "more"],
    [timesOf("only-in-force"), "fewer"],
    [timesOf("differs"), "with other fields"],
  ] as const;
  const said = parts.flatMap(([times, text]) => (times === 0 ? [] : [`${count(times, "document")} ${text}`]));
  return said.length === 0 ? null : said.join(", ");
}
