import type { ValueMode } from "../protocol/messages.ts";
import { BSON_TYPE } from "./bson-value.ts";
import { encodeVisible } from "./encode.ts";
import { isEqualVisible, type Projection } from "./projection.ts";
import { type Shown, VisibleElements } from "./visible-elements.ts";

/** The difference between two visible documents, by dotted paths through objects. */
export interface Delta {
  /** Each with its new value as JSON text. */
  readonly set: readonly (readonly [path: string, json: string])[];
  readonly unset: readonly string[];
}

/**
 * The difference from one visible document to another, fields in the same order: `set` leaves a field at its position,
 * and appends a new one. Arrays go whole, and so does an object in which a field changed whose name cannot stand in
 * a path, or whose fields are in another order now. `undefined` where that object is the document itself: then the
 * document must be sent.
 */
export function diffProjected(
  projection: Projection,
  before: Uint8Array,
  after: Uint8Array,
  mode: ValueMode,
): Delta | undefined {
  const delta = new Differ(mode).diff(fieldsOf(projection, before, 0), fieldsOf(projection, after, 0), "");
  return delta !== undefined && isShort(delta, after.length) ? delta : undefined;
}

/** Paths of this many characters in all are always sent. */
const PATHS_LENGTH = 4_096;

/**
 * Whether the paths take less than the value that they change: each path repeats the names above it, so that many
 * changes below one long name could make a message far larger than the document.
 */
function isShort({ set, unset }: Delta, valueBytes: number): boolean {
  let length = 0;
  for (const path of unset) length += path.length;
  for (const [path] of set) length += path.length;
  return length <= PATHS_LENGTH || length <= valueBytes;
}

type Fields = ReadonlyMap<string, VisibleElements> | undefined;

/** The visible fields by name, each a cursor that stays where it is; `undefined` where a name comes twice. */
function fieldsOf(shown: Shown, bytes: Uint8Array, at: number): Fields {
  const fields = new Map<string, VisibleElements>();
  const elements = new VisibleElements(shown, bytes, at, false);
  while (elements.next()) {
    const { name } = elements;
    if (fields.has(name)) return undefined;
    fields.set(name, elements.clone());
  }
  return fields;
}

class Differ {
  readonly #mode: ValueMode;

  constructor(mode: ValueMode) {
    this.#mode = mode;
  }

  diff(before: Fields, after: Fields, prefix: string): Delta | undefined {
    if (before === undefined || after === undefined) return undefined;
    // Every reason to give up that names alone tell comes first: giving up after descending discards the work below.
    if (!isInOrder(before, after)) return undefined;
    const unset: string[] = [];
    for (const name of before.keys()) {
      if (after.has(name)) continue;
      if (!canStandInPath(name)) return undefined;
      unset.push(prefix + name);
    }
    const changed: string[] = [];
    for (const [name, value] of after) {
      const old = before.get(name);
      if (old !== undefined && isEqualVisible(old, value)) continue;
      if (!canStandInPath(name)) return undefined;
      changed.push(name);
    }
    const set: (readonly [string, string])[] = [];
    for (const name of changed) {
      const [old, value] = [before.get(name), after.get(name)];
      if (value === undefined) continue;
      const inner = old === undefined ? undefined : this.#inner(old, value, `${prefix}${name}.`);
      if (inner === undefined) {
        set.push([prefix + name, encodeVisible(value, this.#mode)]);
        continue;
      }
      // One by one: as arguments of one call, a hundred thousand would overflow the stack.
      for (const one of inner.set) set.push(one);
      for (const path of inner.unset) unset.push(path);
    }
    return { set, unset };
  }

  #inner(before: VisibleElements, after: VisibleElements, prefix: string): Delta | undefined {
    if (before.type !== BSON_TYPE.object || after.type !== BSON_TYPE.object) return undefined;
    const fields = ({ shown, bytes, start }: VisibleElements) => fieldsOf(shown, bytes, start);
    const delta = this.diff(fields(before), fields(after), prefix);
    return delta !== undefined && isShort(delta, after.end - after.start) ? delta : undefined;
  }
}

/** Whether what is left of the fields stands in the order in which it stood, and what is new behind it. */
function isInOrder(before: ReadonlyMap<string, unknown>, after: ReadonlyMap<string, unknown>): boolean {
  const kept = [...before.keys()].filter((name) => after.has(name));
  const names = after.keys();
  return kept.every((name) => names.next().value === name);
}

/** A number might be taken for an index, a dot divides, and `__proto__` is a trap for who assigns by path. */
function canStandInPath(name: string): boolean {
  return name !== "" && name !== "__proto__" && !name.includes(".") && !/^[0-9]+$/.test(name);
}
