import type { AnswerOf } from "../../admin/api/endpoints.ts";
import type { Draft } from "./draft.ts";

/** A draft that begins with the rules in force. */
export const draftOf = ({ generation, text }: AnswerOf<"rules">): Draft => ({
  name: `rules-of-generation-${generation}.yaml`,
  base: text,
  text,
  tests: "",
});
