/** The rules of the demo: their text on the page, the configuration of the service, and the changed lines. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { loadConfig } from "../../../src/config/config.ts";
import { readConfigText } from "../../../src/config/config-text.ts";
import { ruleSetText } from "../../../src/config/rule-set.ts";
import { collectionsText } from "../../../src/config/rule-set-text.ts";
import { BoardRules } from "../../../src/demo/board-rules.ts";
import { demoRules, writeServiceConfig } from "../../../src/demo/demo-config.ts";
import { diffLines } from "../../../src/demo/page/text-diff.ts";
import { joinRules, splitRules } from "../../../src/demo/rules-text.ts";

const ENV = { TIDEWIRE_JWT_SECRET: "x".repeat(32) };

async function serviceConfig() {
  const directory = await mkdtemp(join(tmpdir(), "tidewire-rules-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  const path = join(directory, "tidewire.yaml");
  await writeServiceConfig(path);
  return path;
}

test("the service of the demo reads its rules from the database, and has no others", async () => {
  const path = await serviceConfig();
  expect(await loadConfig(path, ENV)).toMatchObject({ rules: { from: "database" }, collections: {} });
  expect(await readFile(path, "utf8")).not.toContain("collections:");
  // The texts of the page's presets are found in the layout in which a rule set is kept.
  const text = await demoRules();
  expect(ruleSetText(collectionsText(text, readConfigText(text, "", {}).value))).toBe(text);
  expect(text).toMatch(/^collections:\n {2}orders:\n {4}rules:\n/);
});

test("the rules are shown without the rest of the set, and saved back leave it as it was", async () => {
  const text = await demoRules();
  const parts = splitRules(text);
  expect(parts.rules).toMatch(/^# Ada sees everything\.\n- name: admin\n/);
  expect(parts.linesBefore).toBe(3);
  expect(joinRules(parts, parts.rules)).toBe(text);
  const notes = "  notes:\n    rules:\n      - name: all\n";
  const more = splitRules(text + notes);
  expect(more.rules).toBe(parts.rules);
  expect(joinRules(more, "- name: all")).toBe(
    `collections:\n  orders:\n    rules:\n      - name: all\n${parts.tail}${notes}`,
  );
  // An admin may write the set in another way. Then the page shows all of it.
  const flow = "collections: { orders: { rules: [{ name: all }] } }\n";
  expect(splitRules(flow).rules).toBe(flow.trimEnd());
  expect(joinRules(splitRules(flow), flow)).toBe(flow);
});

test("an edit starts from the set that the page shows, and mistakes have their lines in the text of the page", async () => {
  const text = await demoRules();
  const asked: unknown[] = [];
  const answers: unknown[] = [
    { applied: 4 },
    { applied: null, isSame: true },
    { problems: [{ line: 5, column: 1, path: "", message: "wrong" }] },
    { conflict: { text: "another edit", inForce: 7, since: [] } },
  ];
  const ask = async (path: string, body?: object) => {
    if (body === undefined) return { text, tests: "tests: []\n", parent: 3 };
    asked.push([path, body]);
    return answers.shift();
  };
  const rules = new BoardRules(ask, await serviceConfig(), ENV);
  const shown = await rules.read();
  expect(shown).toEqual({ set: 3, text: splitRules(text).rules, original: splitRules(text).rules });
  const write = (edited: string) => rules.write({ text: edited, set: 3 });
  const edited = shown.text.replace("[ margin, courier ]", "[ courier ]");
  expect(await write(edited)).toEqual({ problems: [], set: 4, inForce: null });
  expect(asked).toEqual([
    [
      "/rules/apply",
      {
        text: text.replace("[ margin, courier ]", "[ courier ]"),
        tests: "tests: []\n",
        message: "An edit on the demo's page",
        parent: 3,
      },
    ],
  ]);
  expect(await write(shown.text)).toMatchObject({ problems: [], set: null });
  expect((await write("- name: admin\n  filtr: {}")).problems).toEqual([{ line: 2, message: "wrong" }]);
  expect(await write(edited)).toEqual({
    problems: [{ line: 1, message: "another edit" }],
    set: null,
    inForce: 7,
  });
  expect(Object.keys((await rules.config()).collections)).toEqual(["orders", "presence"]);
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
