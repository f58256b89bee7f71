import { type Initial, InitialResults } from "../initial.ts";
import type { Part } from "../part.ts";

export type { Initial } from "../initial.ts";

/** Results that a server has read for this page (`prefetch`). The client shows them at once, and resumes from them. */
export const initial = (results: Initial | undefined): Part => ({
  initial: (mode, codec) => new InitialResults(results, mode, codec),
});
