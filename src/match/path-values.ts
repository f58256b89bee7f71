import { BSON_TYPE, type BsonValue, valueEnd } from "./bson-value.ts";
import { FoundValues } from "./found-values.ts";
import { compilePath } from "./path-walk.ts";
import { StepPace, type Steps } from "./steps.ts";

/**
 * The scalars and objects under a path, each as a copy. An array yields its elements. Missing fields and null yield
 * nothing.
 */
export interface PathValues {
  of(document: Uint8Array): BsonValue[];
  /** Like `of`, in steps. Each value is visited. */
  visitInSteps(document: Uint8Array, visit: (value: BsonValue) => void): Steps<void>;
}

/** Makes the functions that find the values under a path. */
export function compilePathValues(path: string): PathValues {
  const walk = compilePath(path, true);
  return {
    of(document) {
      const values: BsonValue[] = [];
      walk(document, 0, (type, bytes, at) => {
        if (isValue(type)) values.push(copyOf(type, bytes, at));
        return false;
      });
      return values;
    },
    *visitInSteps(document, visit) {
      const found = new FoundValues();
      walk(document, 0, (type, _bytes, at) => {
        if (isValue(type)) found.add(type, at);
        return false;
      });
      const pace = new StepPace();
      for (let i = 0; i < found.size; i++) {
        const value = copyOf(found.typeAt(i), document, found.startAt(i));
        visit(value);
        if (pace.isOver(value.end)) yield;
      }
    },
  };
}

function isValue(type: number): boolean {
  const isNothing = type === BSON_TYPE.missing || type === BSON_TYPE.null || type === BSON_TYPE.undefined;
  return !isNothing && type !== BSON_TYPE.array;
}

function copyOf(type: number, bytes: Uint8Array, at: number): BsonValue {
  const copy = Buffer.from(bytes.subarray(at, valueEnd(type, bytes, at)));
  return { type, bytes: copy, start: 0, end: copy.length };
}
