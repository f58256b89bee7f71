import { createTwoFilesPatch } from "diff";
import type { Draft } from "./draft.ts";

/** The edits of a draft as a patch for `git apply` or `patch -p1`; empty if there are none. */
export function patchOf({ name, base, text }: Pick<Draft, "name" | "base" | "text">): string {
  if (base === text) return "";
  return createTwoFilesPatch(`a/${name}`, `b/${name}`, base, text, undefined, undefined, { context: 3 });
}
