import { expect, test } from "vitest";
import {
  draftAfterApply,
  draftOfFile,
  draftOfSet,
  fileOfDraft,
  isEdited,
} from "../../../src/console/rules/draft.ts";
import { rebased } from "../../../src/console/rules/rebase.ts";

const BASE =
  "collections:\n  a:\n    rules: [{ name: a }]\n  b:\n    rules: [{ name: b }]\n  c:\n    rules: [{ name: c }]\n  d:\n    rules: [{ name: d }]\n";
const draft = draftOfSet({ number: 4, text: BASE, tests: "" });

test("a draft of a set starts from it, or from the set in force if it is an earlier one", () => {
  expect(draft).toMatchObject({ name: "rule-set-4.yaml", parent: 4 });
  expect(draftOfSet({ number: 4, text: BASE, tests: "" }, 7)).toMatchObject({
    name: "rule-set-4.yaml",
    parent: 7,
  });
});

test("a draft of a file starts from the set that the file names", () => {
  expect(draftOfFile("rules.yaml", `parent: 5\n${BASE}`).parent).toBe(5);
  for (const text of [BASE, "parent: x\n", "parent: -1\n", "[", "", "- 1\n"])
    expect(draftOfFile("rules.yaml", text).parent).toBeNull();
});

test("a file for tidewire rules push names the set from which the edit starts, once", () => {
  expect(fileOfDraft(draft)).toBe(`parent: 4\n${BASE}`);
  expect(fileOfDraft(draftOfFile("rules.yaml", `parent: 5\n${BASE}`))).toBe(`parent: 5\n${BASE}`);
  expect(fileOfDraft(draftOfFile("rules.yaml", BASE))).toBe(BASE);
});

test("an applied draft starts from the new set, and has no edits and no reason any more", () => {
  const edited = { ...draftOfFile("rules.yaml", `parent: 5\n${BASE}`), tests: "tests: []\n", message: "x" };
  expect(isEdited(edited)).toBe(true);
  const applied = draftAfterApply(edited, 6);
  expect(applied).toMatchObject({ name: "rules.yaml", parent: 6, text: `parent: 6\n${BASE}`, message: "" });
  expect(isEdited(applied)).toBe(false);
  expect(draftAfterApply(draft, 6).name).toBe("rule-set-6.yaml");
});

test("an edit is put on top of an edit of other lines, of the rules and of the tests", () => {
  const mine = { ...draft, text: BASE.replace("name: a", "name: mine"), tests: "tests: []\n" };
  const theirs = { number: 5, text: BASE.replace("name: d", "name: theirs"), tests: "" };
  const merged = rebased(mine, theirs);
  expect(merged).toMatchObject({ parent: 5, base: theirs.text, tests: "tests: []\n", baseTests: "" });
  expect(merged?.text).toBe(BASE.replace("name: a", "name: mine").replace("name: d", "name: theirs"));
});

test("an edit stays with its rule, although another rule has the same lines around it", () => {
  const rule = (name: string) => `  - name: ${name}\n    filter: { a: 1 }\n    fields: { exclude: [x] }\n`;
  const base = `rules:\n${rule("a")}${rule("b")}${rule("c")}`;
  const mine = base.replace(rule("b"), rule("b").replace("a: 1", "a: 2"));
  const theirs = base.replace(rule("a"), "");
  const merged = rebased({ ...draft, base, text: mine }, { number: 5, text: theirs, tests: "" });
  expect([null, `rules:\n${rule("b").replace("a: 1", "a: 2")}${rule("c")}`]).toContain(merged?.text ?? null);
  expect(
    rebased({ ...draft, base, text: mine }, { number: 5, text: base.replace(rule("b"), ""), tests: "" }),
  ).toBeNull();
});

test("an edit of the same lines is not put on top, unless both are equal", () => {
  const mine = { ...draft, text: BASE.replace("name: a", "name: mine") };
  const theirs = { number: 5, text: BASE.replace("name: a", "name: theirs"), tests: "" };
  expect(rebased(mine, theirs)).toBeNull();
  expect(rebased(mine, { ...theirs, text: mine.text })).toMatchObject({ text: mine.text, parent: 5 });
  expect(rebased(draft, theirs)).toMatchObject({ text: theirs.text, parent: 5 });
  const withTests = { ...mine, tests: "tests: [1]\n" };
  expect(rebased(withTests, { ...theirs, text: BASE, tests: "tests: [2]\n" })).toBeNull();
});
