/** Compares large documents under a projection, in steps. The result is that of `projection.ts`. */
import { asBuffer, BSON_TYPE } from "./bson-value.ts";
import { hasEqualName, isEqualVisible, isEqualWhole, isWhole } from "./projection.ts";
import type { Projection } from "./projection-fields.ts";
import { StepPace, type Steps } from "./steps.ts";
import { VisibleElements } from "./visible-elements.ts";

/** Like `projectedEqual`, in steps. */
export function* projectedEqualInSteps(
  projection: Projection,
  before: Uint8Array,
  after: Uint8Array,
  pace = new StepPace(),
): Steps<boolean> {
  if (asBuffer(before).equals(after)) return true;
  if (isWhole(projection)) return false;
  return yield* hasEqualElements(
    new VisibleElements(projection, before, 0, false),
    new VisibleElements(projection, after, 0, false),
    false,
    pace,
  );
}

/** Like `isEqualVisible`, for values of which one is large. */
export function* isEqualVisibleInSteps(
  a: VisibleElements,
  b: VisibleElements,
  pace: StepPace,
): Steps<boolean> {
  const quick = isEqualWhole(a, b);
  if (quick !== undefined) return quick;
  const isArray = a.type === BSON_TYPE.array;
  return yield* hasEqualElements(
    new VisibleElements(a.shown, a.bytes, a.start, isArray),
    new VisibleElements(b.shown, b.bytes, b.start, isArray),
    isArray,
    pace,
  );
}

/** Whether one of two values takes more than one step. */
export function isLarge(a: VisibleElements, b: VisibleElements, { smallBytes }: StepPace): boolean {
  return a.end - a.start > smallBytes || b.end - b.start > smallBytes;
}

function* hasEqualElements(
  a: VisibleElements,
  b: VisibleElements,
  isArray: boolean,
  pace: StepPace,
): Steps<boolean> {
  for (;;) {
    // Two loops instead of a function, because a generator for each element would cost half as much again.
    let hasA = a.advance();
    for (; hasA && !a.isVisible; hasA = a.advance()) if (pace.isOver(a.size)) yield;
    let hasB = b.advance();
    for (; hasB && !b.isVisible; hasB = b.advance()) if (pace.isOver(b.size)) yield;
    if (!hasA || !hasB) return hasA === hasB;
    if (!hasEqualName(a, b, isArray)) return false;
    const areEqual = isLarge(a, b, pace) ? yield* isEqualVisibleInSteps(a, b, pace) : isEqualVisible(a, b);
    if (!areEqual) return false;
    const isOver = pace.isOver(a.size);
    if (pace.isOver(b.size) || isOver) yield;
  }
}
