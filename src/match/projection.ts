/**
 * Decides which fields of a document are visible, as a tree with the server's projection semantics. Rules hide fields
 * with it, so it must also hide them from filters and sorts, which could otherwise reveal their values.
 */
import { amount } from "../protocol/amount.ts";
import { TidewireError } from "../protocol/errors.ts";
import { asBuffer, BSON_TYPE } from "./bson-value.ts";
import { isIndex, pathFault, quote } from "./paths.ts";
import { type FieldShown, listedFields, type Projection } from "./projection-fields.ts";
import { VisibleElements } from "./visible-elements.ts";

/** Keeps all fields. */
export const EVERYTHING: Projection = { keepsRest: true, fields: new Map() };

/**
 * Makes a projection of only these paths, and `_id`.
 * @param maxNodes The maximum number of names in the tree.
 * @throws {TidewireError} `bad-request`
 */
export function includeProjection(
  paths: readonly string[],
  maxNodes: number = Number.POSITIVE_INFINITY,
): Projection {
  const root = buildTree(paths, false, maxNodes);
  root.set("_id", true);
  return compact(root, false);
}

/**
 * Makes a projection of all but these paths. `_id` cannot be excluded.
 * @throws {TidewireError} `bad-request`
 */
export function excludeProjection(paths: readonly string[]): Projection {
  const root = buildTree(paths, true, Number.POSITIVE_INFINITY);
  if (root.has("_id")) throw refusal("_id", "is always visible");
  return compact(root, true);
}

/** A level of the tree while paths are being added. */
interface Level extends Map<string, Level | boolean> {}

function buildTree(paths: readonly string[], keepsRest: boolean, maxNodes: number): Level {
  const root: Level = new Map();
  let nodes = 0;
  for (const path of paths) {
    const fault = pathFault(path);
    if (fault !== undefined) throw refusal(path, fault);
    nodes += addPath(root, path, !keepsRest);
    if (nodes > maxNodes) {
      const reason = `makes more than ${amount(maxNodes, "name")} in all (limits.projectionNodes): list fewer or shorter paths`;
      throw refusal(path, reason);
    }
  }
  return root;
}

/**
 * Adds one path.
 * @returns How many names were new.
 */
function addPath(root: Level, path: string, shown: boolean): number {
  const parts = path.split(".");
  const last = parts.pop() ?? "";
  let level = root;
  let added = 0;
  for (const part of parts) {
    let next = level.get(part);
    if (typeof next === "boolean") throw refusal(path, "is part of another path in the list");
    if (next === undefined) {
      next = new Map();
      level.set(part, next);
      added++;
    }
    level = next;
  }
  const known = level.get(last);
  if (typeof known === "object") throw refusal(path, "has a part that is also in the list");
  level.set(last, shown);
  return known === undefined ? added + 1 : added;
}

function compact(level: Level, keepsRest: boolean): Projection {
  const fields = new Map<string, FieldShown>();
  for (const [name, below] of level) {
    fields.set(name, typeof below === "boolean" ? below : compact(below, keepsRest));
  }
  return { keepsRest, fields: listedFields(fields) };
}

function refusal(path: string, reason: string): TidewireError {
  return new TidewireError("bad-request", `the field ${quote(path)} ${reason}`, { path });
}

/** The fields visible under both: one projection applied to the result of the other. */
export function intersectProjections(a: Projection, b: Projection): Projection {
  const keepsRest = a.keepsRest && b.keepsRest;
  const fields = new Map<string, FieldShown>();
  for (const [name] of [...a.fields, ...b.fields]) {
    if (fields.has(name)) continue;
    const both = intersectFields(a.fields.get(name) ?? a.keepsRest, b.fields.get(name) ?? b.keepsRest);
    if (both !== keepsRest) fields.set(name, both);
  }
  return { keepsRest, fields: listedFields(fields) };
}

function intersectFields(a: FieldShown, b: FieldShown): FieldShown {
  if (a === true) return b;
  if (b === true) return a;
  return a !== false && b !== false && intersectProjections(a, b);
}

/** A text that is equal for two projections if and only if they show the same fields. */
export function canonicalProjection(projection: Projection): string {
  const parts: string[] = [];
  writeCanonical(projection, parts);
  return parts.join("");
}

/** Appends to one list, because joining the text of each level would copy a deep level once per level above it. */
function writeCanonical({ keepsRest, fields }: Projection, parts: string[]): void {
  parts.push(keepsRest ? "+{" : "-{");
  const listed = [...fields].filter(([, field]) => field !== keepsRest).sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [i, [name, field]] of listed.entries()) {
    parts.push(i === 0 ? "" : ",", JSON.stringify(name));
    if (typeof field === "object") writeCanonical(field, parts);
    else parts.push(field ? "+" : "-");
  }
  parts.push("}");
}

/** The number of names on all levels of a projection, and the size of their text in bytes. */
export function projectionSize({ fields }: Projection): { nodes: number; nameBytes: number } {
  const size = { nodes: 0, nameBytes: 0 };
  for (const [name, field] of fields) {
    const below = typeof field === "object" ? projectionSize(field) : { nodes: 0, nameBytes: 0 };
    size.nodes += 1 + below.nodes;
    size.nameBytes += name.length * 2 + below.nameBytes;
  }
  return size;
}

/**
 * Whether a filter or sort on the path could reveal something about a field that is not visible: the field is hidden,
 * is inside a hidden one, or contains one. A part that may be an array index counts both as an index and as a name.
 */
export function isHiddenPath(projection: Projection, path: string): boolean {
  // The nodes to which the parts so far may lead. A set, because a path with many indexes has exponentially many
  // readings.
  let nodes = new Set<Projection>([projection]);
  for (const [i, part] of path.split(".").entries()) {
    const next = new Set<Projection>();
    for (const node of nodes) {
      const field = node.fields.get(part) ?? node.keepsRest;
      if (field === false) return true;
      if (field !== true) next.add(field);
      // Documents are not arrays, so the first part is never an index.
      if (i > 0 && isIndex(part)) next.add(node);
    }
    if (next.size === 0) return false;
    nodes = next;
  }
  // The path ends at a value of which only parts are visible.
  return [...nodes].some(hidesSomething);
}

function hidesSomething(projection: Projection): boolean {
  return (
    !projection.keepsRest ||
    [...projection.fields].some(([, field]) => field !== true && (field === false || hidesSomething(field)))
  );
}

/** Whether two documents look equal: every visible field has the same bytes, in the same order. */
export function projectedEqual(projection: Projection, before: Uint8Array, after: Uint8Array): boolean {
  if (asBuffer(before).equals(after)) return true;
  if (isWhole(projection)) return false;
  return hasEqualElements(
    new VisibleElements(projection, before, 0, false),
    new VisibleElements(projection, after, 0, false),
    false,
  );
}

/** Whether nothing is hidden. */
export const isWhole = ({ keepsRest, fields }: Projection): boolean => keepsRest && fields.size === 0;

function hasEqualElements(a: VisibleElements, b: VisibleElements, isArray: boolean): boolean {
  while (a.next()) {
    if (!b.next() || !hasEqualName(a, b, isArray) || !isEqualVisible(a, b)) return false;
  }
  return !b.next();
}

/**
 * Whether two elements have the same name. In an array the names are indexes, which shift if an element is not visible.
 */
export function hasEqualName(a: VisibleElements, b: VisibleElements, isArray: boolean): boolean {
  return isArray || hasEqualBytes(a.bytes, a.nameStart, a.start, b.bytes, b.nameStart, b.start);
}

/** Whether the values at two cursors look equal under one projection. */
export function isEqualVisible(a: VisibleElements, b: VisibleElements): boolean {
  const quick = isEqualWhole(a, b);
  if (quick !== undefined) return quick;
  const isArray = a.type === BSON_TYPE.array;
  return hasEqualElements(
    new VisibleElements(a.shown, a.bytes, a.start, isArray),
    new VisibleElements(b.shown, b.bytes, b.start, isArray),
    isArray,
  );
}

/** Whether two values look equal if all of them is visible; `undefined` if their visible parts decide. */
export function isEqualWhole(a: VisibleElements, b: VisibleElements): boolean | undefined {
  if (a.type !== b.type) return false;
  if (hasEqualBytes(a.bytes, a.start, a.end, b.bytes, b.start, b.end)) return true;
  return a.shown === true || b.shown === true ? false : undefined;
}

/** From this size on, in bytes, one native call is faster than a loop. */
const NATIVE_BYTES = 128;

/** Whether two ranges of bytes are equal. */
export function hasEqualBytes(
  a: Uint8Array,
  startA: number,
  endA: number,
  b: Uint8Array,
  startB: number,
  endB: number,
): boolean {
  const size = endA - startA;
  if (size !== endB - startB) return false;
  if (size >= NATIVE_BYTES) return asBuffer(a).compare(asBuffer(b), startB, endB, startA, endA) === 0;
  for (let i = 0; i < size; i++) if (a[startA + i] !== b[startB + i]) return false;
  return true;
}
