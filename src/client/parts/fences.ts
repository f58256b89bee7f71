import { Fences } from "../fences.ts";
import type { Part } from "../part.ts";

export type { OperationTime } from "../fences.ts";

/** For `client.fence()`: read your own writes. */
export const fences: Part = { fences: () => new Fences() };
