import { expect, test } from "vitest";
import { fromJs } from "../../../src/match/bson-value.ts";
import type { Filter, Predicate } from "../../../src/match/filter.ts";
import { blankLookups } from "../../../src/rules/blank-lookups.ts";
import { predicateText } from "../../../src/rules/deciding-predicate.ts";

const list = (op: "$in" | "$nin" | "$all", value: string, placeholder?: string): Predicate => ({
  op,
  values: [fromJs(value)],
  ...(placeholder === undefined ? {} : { from: { placeholder } }),
});
const at = (path: string, predicate: Predicate): Filter => ({ op: "path", path, predicate });
const LOOKUP = "%%lookup.rooms";

test("values of lookups are replaced by their placeholder, at any depth, and nothing else is", () => {
  const secret = list("$in", "secret", LOOKUP);
  const filter: Filter = {
    op: "$and",
    filters: [
      at("a", secret),
      at("b", list("$nin", "secret", LOOKUP)),
      at("c", list("$all", "secret", LOOKUP)),
      at("d", { op: "$not", predicates: [secret] }),
      at("e", { op: "$elemMatchValue", predicates: [secret] }),
      at("f", { op: "$elemMatch", filter: { op: "$or", filters: [at("g", secret)] } }),
      { op: "$nor", filters: [at("h", secret)] },
      at("i", list("$in", "of a claim", "%%user.rooms")),
      at("j", list("$in", "of the request")),
      at("k", { op: "$eq", value: fromJs("one value") }),
    ],
  };
  const text = predicateText(blankLookups(filter));
  expect(text).not.toContain("secret");
  expect(text.split(LOOKUP)).toHaveLength(8);
  for (const kept of ["of a claim", "of the request", "one value"]) expect(text).toContain(kept);
  expect(predicateText(filter)).toContain("secret");
});
