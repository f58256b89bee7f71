/** Values as JavaScript has them: `Date`, `bigint`, bytes, and an `ObjectId`. */
import type { Doc } from "./result-set.ts";
import type { Change } from "./types.ts";
import type { ValueCodec } from "./value-codec.ts";

/** An ObjectId of MongoDB. Filters take it, as they take the one of the BSON library. */
export class ObjectId {
  readonly _bsontype = "ObjectId";
  readonly #hex: string;

  /** @param hex 24 hex digits. */
  constructor(hex: string) {
    if (!/^[\da-f]{24}$/i.test(hex)) throw new TypeError(`an ObjectId has 24 hex digits: ${hex}`);
    this.#hex = hex.toLowerCase();
  }

  /** The 24 hex digits. */
  toHexString(): string {
    return this.#hex;
  }

  toString(): string {
    return this.#hex;
  }

  toJSON(): { readonly $oid: string } {
    return { $oid: this.#hex };
  }

  /** Whether another value is the same ObjectId, or its hex digits. */
  equals(other: unknown): boolean {
    return String(other).toLowerCase() === this.#hex;
  }

  /** When it was made, to the second. */
  getTimestamp(): Date {
    return new Date(Number.parseInt(this.#hex.slice(0, 8), 16) * 1_000);
  }
}

/** Each document and list is converted once, so that it stays the same object until it changes. */
const documents = new WeakMap<object, object>();

function once<T extends object>(value: T, convert: (value: T) => T): T {
  const known = documents.get(value) as T | undefined; // only this function writes it
  const converted = known ?? convert(value);
  if (known === undefined) documents.set(value, converted);
  return converted;
}

const toDoc = (doc: Doc): Doc => once(doc, (raw) => toObject(raw));
const toMaybeDoc = (doc: Doc | undefined) => (doc === undefined ? undefined : toDoc(doc));
const toList = (docs: readonly Doc[]): readonly Doc[] => once(docs, (raw) => Object.freeze(raw.map(toDoc)));

const toObject = (object: Doc): Doc =>
  Object.fromEntries(Object.entries(object).map(([name, value]) => [name, toNative(value)]));

/** Converts a value of Extended JSON. Types that JavaScript lacks stay as they are. */
function toNative(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(toNative);
  const [[key, content] = ["", undefined], ...more] = Object.entries(value);
  const native = more.length === 0 && key.startsWith("$") ? toScalar(key, content) : undefined;
  return native ?? toObject(value as Doc);
}

function toScalar(key: string, content: unknown): unknown {
  switch (key) {
    case "$oid":
      return new ObjectId(String(content));
    case "$date": {
      const ms =
        typeof content === "string" ? content : Number((content as { $numberLong: string }).$numberLong);
      const date = new Date(ms);
      // A date of MongoDB may lie outside of what JavaScript can express.
      return Number.isNaN(date.getTime()) ? undefined : date;
    }
    case "$numberLong":
      return BigInt(String(content));
    case "$numberDouble":
      return Number(content);
    case "$binary": {
      const { base64, subType } = content as { base64: string; subType: string };
      return subType === "00"
        ? Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))
        : undefined;
    }
    default:
      return undefined;
  }
}

function toChange(change: Change<Doc>): Change<Doc> {
  if (change.type === "snapshot") return { ...change, docs: toList(change.docs) };
  if (change.type === "removed") return { ...change, _id: toNative(change._id), doc: toMaybeDoc(change.doc) };
  const { before } = change;
  const moved = {
    ...change,
    doc: toDoc(change.doc),
    ...(before === undefined ? {} : { before: toNative(before) }),
  };
  return moved.type === "changed" ? { ...moved, previous: toMaybeDoc(moved.previous) } : moved;
}

/** For `createClient({ values: native })`. */
export const native: ValueCodec = { mode: "ejson", list: toList, change: toChange };
