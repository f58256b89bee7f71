/** The rules panel of the demo's page: it shows the changed lines, and saves valid rules. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { copyDemoConfig, DEMO_CONFIG } from "../../../src/demo/demo-config.ts";
import { diffLines } from "../../../src/demo/page/text-diff.ts";
import { RulesFile } from "../../../src/demo/rules-file.ts";

async function rulesFile() {
  const directory = await mkdtemp(join(tmpdir(), "tidewire-rules-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  const path = join(directory, "tidewire.yaml");
  await copyDemoConfig(path);
  return { path, rules: new RulesFile(path, { TIDEWIRE_JWT_SECRET: "x".repeat(32) }) };
}

test("the rules are shown without the rest of the file, and saved back leave it as it was", async () => {
  const { path, rules } = await rulesFile();
  const before = await readFile(path, "utf8");
  const { text, original } = await rules.read();
  expect(text).toBe(original);
  expect(text).toMatch(/^# Ada sees everything\.\n- name: admin\n/);
  expect(await rules.write(text)).toEqual({ problems: [], isEdit: false });
  expect(await readFile(path, "utf8")).toBe(before);
});

test("an edit is written; the file that the demo comes with stays", async () => {
  const { rules } = await rulesFile();
  const before = await readFile(DEMO_CONFIG, "utf8");
  const { text } = await rules.read();
  expect(await rules.write(text.replace("[margin, courier]", "[courier]"))).toEqual({
    problems: [],
    isEdit: true,
  });
  const edited = await rules.read();
  expect(edited.text).toContain("exclude: [courier]");
  expect(edited.original).toBe(text);
  const reworded = edited.text.replace("# Ada sees everything.", "# Ada sees all.");
  expect(await rules.write(reworded)).toEqual({ problems: [], isEdit: false });
  expect(await readFile(DEMO_CONFIG, "utf8")).toBe(before);
});

test("problems are reported with their lines in the text, and the file is not written", async () => {
  const { path, rules } = await rulesFile();
  const before = await readFile(path, "utf8");
  const wrong = "- name: admin\n  filters: {}\n";
  const { problems } = await rules.write(wrong);
  expect(problems).toEqual([{ line: 2, message: expect.stringContaining('unknown key "filters"') }]);
  // Nothing of the file but the rules can be written: whatever stands there is a part of them.
  expect((await rules.write("- name: x\nlimits: {}")).problems.length).toBeGreaterThan(0);
  expect(await readFile(path, "utf8")).toBe(before);
});

test.each([
  ["a\nb\nc", "a\nx\nc", " a-b+x c"],
  ["a\nb", "a\nb\nc", " a b+c"],
  ["a\nb\nc", "b", "-a b-c"],
  ["a", "a", " a"],
])("from %j to %j the difference is %j", (before, after, expected) => {
  const signs = { kept: " ", removed: "-", added: "+" };
  const text = diffLines(before, after).map((line) => signs[line.is] + line.text);
  expect(text.join("")).toBe(expected);
});
