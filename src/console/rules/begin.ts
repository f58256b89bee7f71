import type { AnswerOf } from "../../admin/api/endpoints.ts";
import { type Draft, draftOfSet } from "./draft.ts";

/** A draft that begins with the rules in force. */
export function draftOf({ generation, text, tests, parent }: AnswerOf<"rules">): Draft {
  if (parent !== null) return draftOfSet({ number: parent, text, tests });
  const name = `rules-of-generation-${generation}.yaml`;
  return { name, base: text, text, tests: "", baseTests: "", parent: null, message: "" };
}
