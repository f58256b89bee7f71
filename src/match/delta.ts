import type { ValueMode } from "../protocol/messages.ts";
import type { Projection } from "./projection.ts";
export interface Delta {
  readonly set: readonly (readonly [path: string, json: string])[];
  readonly unset: readonly string[];
}
/** `undefined` where dotted paths can not tell the difference: then the whole document is sent. */
export declare function diffProjected(
  projection: Projection,
  before: Uint8Array,
  after: Uint8Array,
  mode: ValueMode,
): Delta | undefined;
