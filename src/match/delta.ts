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
  /** Each with its new value as JSON text. */
  readonly set: readonly (readonly [path: string, json: string])[];
  readonly unset: readonly string[];
}

/**
 * The changes that turn one visible document into another, with its fields in the same order: `set` leaves a field at
 * its position, and appends a new one. Arrays are sent whole, and so is an object whose fields are in another order now,
 * or in which a field changed that no path can name. `undefined` where that object is the document itself: then the
 * document must be sent.
 */
export function diffProjected(
  projection: Projection,
  before: Uint8Array,
  after: Uint8Array,
  mode: ValueMode,
): Delta | undefined {
  return runThrough(diffProjectedInSteps(projection, before, after, mode));
}

/** As `diffProjected`, in steps. */
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

/** Paths of this many characters in all are always sent. */
const PATHS_LENGTH = 4_096;

/** The visible fields by name, each a cursor that stays where it is. */
type Fields = ReadonlyMap<string, VisibleElements>;

/** `undefined` where a name comes twice. */
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

/** The object looks the same. */
const EQUAL = "equal";
/** The object differs, and has to be sent whole. */
const WHOLE = "whole";

/** How the fields of an object differ. Nothing is encoded yet: whether paths are short enough shows at the end. */
interface Difference {
  readonly set: (readonly [name: string, value: VisibleElements | Difference])[];
  readonly unset: string[];
  /** How many paths it takes, and how long they are together from the document on. */
  paths: number;
  length: number;
}

/**
 * Compares two objects, each part of them once: an object that is sent whole after all is not compared again, and not
 * encoded before that is known.
 * @param prefix The length of the path that leads here, its last dot included.
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
  // Each path repeats the names above it: many changes below one long name could take more than the value.
  const isShort = difference.length <= PATHS_LENGTH || difference.length <= valueBytes;
  return isShort ? difference : WHOLE;
}

/** Compares two values in one step; `undefined` where their parts have to be compared. */
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

/** Whether the fields that stayed are in the order in which they were, and new fields come behind them. */
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

/** A number might be taken for an index, a dot divides, and `__proto__` is a trap for who assigns by path. */
function canStandInPath(name: string): boolean {
  return name !== "" && name !== "__proto__" && !name.includes(".") && !/^[0-9]+$/.test(name);
}
