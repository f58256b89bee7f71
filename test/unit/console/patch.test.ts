import { applyPatch } from "diff";
import { expect, test } from "vitest";
import { patchOf } from "../../../src/console/rules/patch.ts";

test("the patch of a draft turns the file into the draft", () => {
  const draft = {
    name: "tidewire.yaml",
    tests: "",
    base: "a: 1\nb: 2\nc: 3\n",
    text: "a: 1\nb: 4\nc: 3\nd: 5\n",
  };
  const patch = patchOf(draft);
  expect(patch).toContain("--- a/tidewire.yaml");
  expect(applyPatch(draft.base, patch)).toBe(draft.text);
});

test("a draft without edits has no patch", () =>
  expect(patchOf({ name: "a", base: "x", text: "x" })).toBe(""));
