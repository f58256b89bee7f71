/** Which fields of a document are visible, as a tree; with the server's projection semantics. */
import { TidewireError } from "../protocol/errors.ts";
import { asBuffer, BSON_TYPE } from "./bson-value.ts";
import { compareBytes } from "./compare.ts";
import { isIndex, pathFault, quote } from "./paths.ts";
import { VisibleElements } from "./visible-elements.ts";

/**
 * What is visible of a document or sub-document, and of each one in an array. Where the rest is dropped, scalars
 * in its place are dropped too (as an inclusion of `a.b` drops an `a` that is 5); where it is kept, they are kept.
 */
export interface Projection {
  /** What happens to fields that are not listed. */
  readonly keepsRest: boolean;
  /** Listed fields: all of it (`true`), nothing of it (`false`), or parts. */
  readonly fields: ReadonlyMap<string, Projection | boolean>;
}

export const EVERYTHING: Projection = { keepsRest: true, fields: new Map() };

/** Only these paths, and `_id`.
 * @throws {TidewireError} `bad-request`
 */
export function includeProjection(paths: readonly string[]): Projection {
  const root = buildTree(paths, false);
  root.fields.set("_id", true);
  return root;
}

/** All but these paths; `_id` can not be excluded.
 * @throws {TidewireError} `bad-request`
 */
export function excludeProjection(paths: readonly string[]): Projection {
  const root = buildTree(paths, true);
  if (root.fields.has("_id")) throw refusal("_id", "is always visible");
  return root;
}

interface MutableProjection {
  readonly keepsRest: boolean;
  readonly fields: Map<string, MutableProjection | boolean>;
}

function buildTree(paths: readonly string[], keepsRest: boolean): MutableProjection {
  const root: MutableProjection = { keepsRest, fields: new Map() };
  for (const path of paths) {
    const fault = pathFault(path);
    if (fault !== undefined) throw refusal(path, fault);
    addPath(root, path);
  }
  return root;
}

function addPath(root: MutableProjection, path: string): void {
  const parts = path.split(".");
  const last = parts.pop() ?? "";
  let node = root;
  for (const part of parts) {
    const next = node.fields.get(part) ?? { keepsRest: root.keepsRest, fields: new Map() };
    if (typeof next === "boolean") throw refusal(path, "is part of another path in the list");
    node.fields.set(part, next);
    node = next;
  }
  if (typeof node.fields.get(last) === "object") throw refusal(path, "has a part that is also in the list");
  node.fields.set(last, !root.keepsRest);
}

function refusal(path: string, reason: string): TidewireError {
  return new TidewireError("bad-request", `the field ${quote(path)} ${reason}`, { path });
}

/** What is visible under both: one applied to what the other leaves. */
export function intersectProjections(a: Projection, b: Projection): Projection {
  const keepsRest = a.keepsRest && b.keepsRest;
  const fields = new Map<string, Projection | boolean>();
  for (const name of new Set([...a.fields.keys(), ...b.fields.keys()])) {
    const both = intersectFields(a.fields.get(name) ?? a.keepsRest, b.fields.get(name) ?? b.keepsRest);
    if (both !== keepsRest) fields.set(name, both);
  }
  return { keepsRest, fields };
}

function intersectFields(a: Projection | boolean, b: Projection | boolean): Projection | boolean {
  if (a === true) return b;
  if (b === true) return a;
  return a !== false && b !== false && intersectProjections(a, b);
}

/** Text that is equal for two projections iff they show the same. */
export function canonicalProjection(projection: Projection): string {
  const fields = [...projection.fields]
    .filter(([, field]) => field !== projection.keepsRest)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, field]) => {
      const shown = typeof field === "boolean" ? (field ? "+" : "-") : canonicalProjection(field);
      return `${JSON.stringify(name)}${shown}`;
    });
  return `${projection.keepsRest ? "+" : "-"}{${fields.join()}}`;
}

/**
 * Whether a filter or sort on the path could tell something about a field that is not visible: it is hidden, or lies
 * in a hidden one, or holds one. A part that may be an index of an array is taken both as that and as a name.
 */
export function isHiddenPath(projection: Projection, path: string): boolean {
  // Where the parts so far may lead to. A set, because a path of many indexes could else be read in very many ways.
  let places = new Set<Projection>([projection]);
  for (const [i, part] of path.split(".").entries()) {
    const next = new Set<Projection>();
    for (const place of places) {
      const field = place.fields.get(part) ?? place.keepsRest;
      if (field === false) return true;
      if (field !== true) next.add(field);
      // Documents are not arrays, so the first part is never an index.
      if (i > 0 && isIndex(part)) next.add(place);
    }
    if (next.size === 0) return false;
    places = next;
  }
  // It ends at something of which only parts are visible.
  return [...places].some(hidesSomething);
}

function hidesSomething(projection: Projection): boolean {
  return (
    !projection.keepsRest ||
    [...projection.fields.values()].some(
      (field) => field !== true && (field === false || hidesSomething(field)),
    )
  );
}

/** Whether two documents look the same: every visible field has the same bytes, in the same order. */
export function projectedEqual(projection: Projection, before: Uint8Array, after: Uint8Array): boolean {
  if (asBuffer(before).equals(after)) return true;
  if (projection.keepsRest && projection.fields.size === 0) return false;
  return hasEqualElements(
    new VisibleElements(projection, before, 0, false),
    new VisibleElements(projection, after, 0, false),
    false,
  );
}

function hasEqualElements(a: VisibleElements, b: VisibleElements, isArray: boolean): boolean {
  while (a.next()) {
    if (!b.next() || a.type !== b.type) return false;
    // The names in an array are indexes, and shift where an element is not visible.
    if (!isArray && !hasEqualBytes(a.bytes, a.nameStart, a.start, b.bytes, b.nameStart, b.start))
      return false;
    if (!isEqualVisible(a, b)) return false;
  }
  return !b.next();
}

/** Whether the values at which two cursors stand, both under the same projection, look the same. */
export function isEqualVisible(a: VisibleElements, b: VisibleElements): boolean {
  if (a.type !== b.type) return false;
  if (hasEqualBytes(a.bytes, a.start, a.end, b.bytes, b.start, b.end)) return true;
  if (a.shown === true || b.shown === true) return false;
  const isArray = a.type === BSON_TYPE.array;
  return hasEqualElements(
    new VisibleElements(a.shown, a.bytes, a.start, isArray),
    new VisibleElements(b.shown, b.bytes, b.start, isArray),
    isArray,
  );
}

function hasEqualBytes(
  a: Uint8Array,
  startA: number,
  endA: number,
  b: Uint8Array,
  startB: number,
  endB: number,
): boolean {
  return compareBytes(a, startA, endA - startA, b, startB, endB - startB) === 0;
}
