import { expect, test } from "vitest";
import { yamlPositionAt } from "../../../src/console/rules/yaml-path.ts";

test.each([
  ["a key of the first level", "mong", [], true, null],
  ["a key below another", "server:\n  ", ["server"], true, null],
  ["a key after deeper lines", "server:\n  admin:\n    port: 1\n  ", ["server"], true, null],
  ["a key of an entry", "rules:\n  - name: a\n    fi", ["rules", 0], true, null],
  ["the second entry", "rules:\n  - name: a\n  - na", ["rules", 1], true, null],
  ["a sequence at the column of its key", "rules:\n- name: a\n- na", ["rules", 1], true, null],
  ["a value", "log:\n  level: ", ["log"], false, "level"],
  ["a quoted key", 'collections:\n  "a.b":\n    ', ["collections", "a.b"], true, null],
  ["lines of comments and blank lines", "server:\n# note\n\n  ", ["server"], true, null],
  ["a comment", "server:\n  # no", ["server"], false, null],
] as const)("finds the path at %s", (_, before, path, isKey, key) => {
  expect(yamlPositionAt(before)).toEqual({ path, isKey, key });
});
