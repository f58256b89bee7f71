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
 * What turns one visible document into another, its fields in the same order: `set` leaves a field where it stands,
 * and appends a new one. Arrays go whole, and so does an object in which a field changed whose name can not stand in
 * a path, or whose fields are in another order now. `undefined` where that object is the document itself: then the
 * document must be sent.
 */
export function diffProjected(
  projection: Projection,
  before: Uint8Array,
  after: Uint8Array,
  mode: ValueMode,
): Delta | undefined {
  return new Differ(mode).diff(fieldsOf(projection, before, 0), fieldsOf(projection, after, 0), "");
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
    const set: (readonly [string, string])[] = [];
    const unset: string[] = [];
    for (const name of before.keys()) {
      if (after.has(name)) continue;
      if (!canStandInPath(name)) return undefined;
      unset.push(prefix + name);
    }
    for (const [name, value] of after) {
      const old = before.get(name);
      if (old !== undefined && isEqualVisible(old, value)) continue;
      if (!canStandInPath(name)) return undefined;
      const inner = old === undefined ? undefined : this.#inner(old, value, `${prefix}${name}.`);
      set.push(...(inner?.set ?? [[prefix + name, encodeVisible(value, this.#mode)] as const]));
      unset.push(...(inner?.unset ?? []));
    }
    return isInOrder(before, after) ? { set, unset } : undefined;
  }

  #inner(before: VisibleElements, after: VisibleElements, prefix: string): Delta | undefined {
    if (before.type !== BSON_TYPE.object || after.type !== BSON_TYPE.object) return undefined;
    const fields = ({ shown, bytes, start }: VisibleElements) => fieldsOf(shown, bytes, start);
    return this.diff(fields(before), fields(after), prefix);
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
