/**
 * Computes deltas: the changed fields of a document instead of the whole. A delta must be exact, including the order of
 * fields, or the documents of client and server would drift apart; where paths cannot express a difference, the
 * containing value is sent.
 */
import type { ValueMode } from "../protocol/messages.ts";
import { BSON_TYPE } from "./bson-value.ts";
import { encodeVisible } from "./encode.ts";
import { encodeVisibleInSteps } from "./encode-steps.ts";
import { hasEqualBytes, isEqualVisible } from "./projection.ts";
import type { Projection } from "./projection-fields.ts";
import { isEqualVisibleInSteps, isLarge } from "./projection-steps.ts";
import { runThrough, StepPace, type Steps } from "./steps.ts";
import { type Shown, VisibleElements } from "./visible-elements.ts";

/** The difference between two visible documents, by dotted paths through objects. */
export interface Delta {
  /** Each path with its new value as JSON text. */
  readonly set: readonly (readonly [path: string, json: string])[];
  readonly unset: readonly string[];
}

/**
 * Computes the changes that turn one visible document into another with the fields in the same order: `set` keeps the
 * position of an existing field and appends a new one. Arrays are sent whole. So are objects whose field order has
 * changed, or in which a field changed that no path can name.
 * @returns `undefined` if that object is the document itself, which must then be sent whole.
 */
export function diffProjected(
  projection: Projection,
  before: Uint8Array,
  after: Uint8Array,
  mode: ValueMode,
): Delta | undefined {
  return runThrough(diffProjectedInSteps(projection, before, after, mode));
}

/** Like `diffProjected`, in steps. */
export function* diffProjectedInSteps(
  projection: Projection,
  before: Uint8Array,
  after: Uint8Array,
  mode: ValueMode,
  pace = new StepPace(),
): Steps<Delta | undefined> {
  const old = yield* fieldsOf(projection, before, 0, pace);
  const now = yield* fieldsOf(projection, after, 0, pace);
  if (old === undefined || now === undefined) return undefined;
  const difference = yield* compare(old, now, 0, after.length, pace);
  if (difference === WHOLE) return undefined;
  const delta: Writable = { set: [], unset: [] };
  if (difference !== EQUAL) yield* write(difference, "", mode, delta, pace);
  return delta;
}

/** Paths with this many characters in total are always sent. */
const PATHS_LENGTH = 4_096;

/** The visible fields by name, each as a cursor at its position. */
type Fields = ReadonlyMap<string, VisibleElements>;

/** Reads the fields of an object; `undefined` if a name occurs twice. */
function* fieldsOf(shown: Shown, bytes: Uint8Array, at: number, pace: StepPace): Steps<Fields | undefined> {
  const fields = new Map<string, VisibleElements>();
  const elements = new VisibleElements(shown, bytes, at, false);
  while (elements.advance()) {
    if (pace.isOver(elements.size)) yield;
    if (!elements.isVisible) continue;
    const { name } = elements;
    if (fields.has(name)) return undefined;
    fields.set(name, elements.clone());
  }
  return fields;
}

/** The objects look equal. */
const EQUAL = "equal";
/** The objects differ, and the new one must be sent whole. */
const WHOLE = "whole";

/**
 * How the fields of an object differ. Nothing is encoded yet, because only the end shows whether the paths are short
 * enough.
 */
interface Difference {
  readonly set: (readonly [name: string, value: VisibleElements | Difference])[];
  readonly unset: string[];
  /** The number of paths, and their total length from the root of the document. */
  paths: number;
  length: number;
}

/**
 * Compares two objects, each part once. An object that is sent whole in the end is neither compared again nor encoded
 * before that is known.
 * @param prefix The length of the path to the objects, including its last dot.
 */
function* compare(
  before: Fields,
  after: Fields,
  prefix: number,
  valueBytes: number,
  pace: StepPace,
): Steps<Difference | typeof EQUAL | typeof WHOLE> {
  if (!(yield* isInOrder(before, after, pace))) return WHOLE;
  const difference: Difference = { set: [], unset: [], paths: 0, length: 0 };
  const count = (name: string) => {
    difference.paths++;
    difference.length += prefix + name.length;
  };
  for (const name of before.keys()) {
    if (pace.isOver(0)) yield;
    if (after.has(name)) continue;
    if (!canStandInPath(name)) return WHOLE;
    difference.unset.push(name);
    count(name);
  }
  for (const [name, value] of after) {
    if (pace.isOver(0)) yield;
    const old = before.get(name);
    const inner =
      compareWhole(old, value, pace) ?? (yield* compareParts(old, value, prefix + name.length + 1, pace));
    if (inner === EQUAL) continue;
    if (!canStandInPath(name)) return WHOLE;
    if (inner === WHOLE) {
      difference.set.push([name, value]);
      count(name);
    } else {
      difference.set.push([name, inner]);
      difference.paths += inner.paths;
      difference.length += inner.length;
    }
  }
  if (difference.paths === 0) return EQUAL;
  // Each path repeats the names above it, so many changes below a long name could need more bytes than the value.
  const isShort = difference.length <= PATHS_LENGTH || difference.length <= valueBytes;
  return isShort ? difference : WHOLE;
}

/** Compares two values in one step; `undefined` if their parts must be compared. */
function compareWhole(
  before: VisibleElements | undefined,
  after: VisibleElements,
  pace: StepPace,
): typeof EQUAL | typeof WHOLE | undefined {
  if (before === undefined) return WHOLE;
  if (areObjects(before, after)) {
    const { bytes, start, end } = after;
    return hasEqualBytes(before.bytes, before.start, before.end, bytes, start, end) ? EQUAL : undefined;
  }
  if (isLarge(before, after, pace)) return undefined;
  return isEqualVisible(before, after) ? EQUAL : WHOLE;
}

function* compareParts(
  before: VisibleElements | undefined,
  after: VisibleElements,
  prefix: number,
  pace: StepPace,
): Steps<Difference | typeof EQUAL | typeof WHOLE> {
  if (before === undefined) return WHOLE;
  if (areObjects(before, after)) {
    const old = yield* fieldsOf(before.shown, before.bytes, before.start, pace);
    const now = yield* fieldsOf(after.shown, after.bytes, after.start, pace);
    if (old !== undefined && now !== undefined)
      return yield* compare(old, now, prefix, after.end - after.start, pace);
  }
  return (yield* isEqualVisibleInSteps(before, after, pace)) ? EQUAL : WHOLE;
}

const areObjects = (a: VisibleElements, b: VisibleElements): boolean =>
  a.type === BSON_TYPE.object && b.type === BSON_TYPE.object;

interface Writable {
  readonly set: (readonly [string, string])[];
  readonly unset: string[];
}

/** Encodes a difference whose paths are short enough. */
function* write(
  { set, unset }: Difference,
  prefix: string,
  mode: ValueMode,
  delta: Writable,
  pace: StepPace,
): Steps<void> {
  for (const name of unset) {
    if (pace.isOver(0)) yield;
    delta.unset.push(prefix + name);
  }
  for (const [name, value] of set) {
    if (!(value instanceof VisibleElements)) {
      yield* write(value, `${prefix}${name}.`, mode, delta, pace);
      continue;
    }
    const isSmall = value.end - value.start <= pace.smallBytes;
    const json = isSmall ? encodeVisible(value, mode) : yield* encodeVisibleInSteps(value, mode, pace);
    delta.set.push([prefix + name, json]);
    if (pace.isOver(value.size)) yield;
  }
}

/** Whether the remaining fields have kept their order, and new fields follow them. */
function* isInOrder(
  before: ReadonlyMap<string, unknown>,
  after: ReadonlyMap<string, unknown>,
  pace: StepPace,
): Steps<boolean> {
  const names = after.keys();
  for (const name of before.keys()) {
    if (pace.isOver(0)) yield;
    if (after.has(name) && names.next().value !== name) return false;
  }
  return true;
}

/**
 * Whether a path may contain the name. A number could be read as an array index, a dot separates parts, and a client
 * that assigns to `__proto__` by path would change a prototype.
 */
function canStandInPath(name: string): boolean {
  return name !== "" && name !== "__proto__" && !name.includes(".") && !/^[0-9]+$/.test(name);
}
