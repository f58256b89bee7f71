import { HeldWindows } from "../held-windows.ts";
import type { Part } from "../part.ts";

/** Lets a sorted query with a larger `limit` show the documents of a smaller one until its own have arrived. */
export const growth: Part = { growth: () => new HeldWindows() };
