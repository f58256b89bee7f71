/** docs/architecture.md names folders, files, functions and tests: all of them exist. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ROOT } from "../support/build.ts";

const page = readFileSync(join(ROOT, "docs", "architecture.md"), "utf8");
const SRC = join(ROOT, "src");

const sectionOf = (title: string) => {
  const from = page.indexOf(`## ${title}\n`);
  const to = page.indexOf("\n## ", from + 1);
  return page.slice(from, to < 0 ? undefined : to);
};

/** Cells of the rows of all tables in a text, without the heads. */
const rowsOf = (text: string) =>
  text
    .split("\n")
    .filter((line) => line.startsWith("| ") && !line.startsWith("| ---"))
    .map((line) => line.slice(2, -2).split(" | "));

const namesIn = (cell: string) => Array.from(cell.matchAll(/`([^`]+)`/g), ([, name = ""]) => name);

test("the table of folders holds every folder of src/, and no other", () => {
  const named = rowsOf(sectionOf("Folders"))
    .slice(1)
    .flatMap(([folder = ""]) => namesIn(folder));
  const folders = readdirSync(SRC).filter((name) => statSync(join(SRC, name)).isDirectory());
  expect(named.toSorted()).toEqual(folders.toSorted());
});

/** The table of imports in boundaries.test.ts, read as text: to import a test would run it here. */
const mayImport = (() => {
  const text = readFileSync(join(ROOT, "test", "unit", "boundaries.test.ts"), "utf8");
  const [, table = ""] = /MAY_IMPORT[^=]*= \{([\s\S]*?)\n\};/.exec(text) ?? [];
  const [, before = ""] = /BEFORE_ADMIN = \[([^\]]*)\]/.exec(text) ?? [];
  const rows = table
    .replaceAll("...BEFORE_ADMIN", before)
    .matchAll(/^ {2}"?([\w-]+)"?: (?:\[([^\]]*)\]|BEFORE_ADMIN)/gm);
  return new Map(
    Array.from(rows, ([, folder = "", list = before]) => [
      folder,
      Array.from(list.matchAll(/[\w-]+/g), String).sort(),
    ]),
  );
})();

test("the imports that the page allows are those that the boundaries allow", () => {
  const told = new Map<string, string[]>();
  for (const [folder = "", imports = ""] of rowsOf(sectionOf("Folders")).slice(1)) {
    if (imports === "everything") continue;
    const [, base, more = ""] = /^as `(\w+)`, and (.+)$/.exec(imports) ?? [];
    const list = base === undefined ? namesIn(imports) : [...(told.get(base) ?? []), ...namesIn(more)];
    for (const name of namesIn(folder)) told.set(name, list.sort());
  }
  expect(told.size).toBeGreaterThan(10);
  for (const [folder, list] of told) expect(list, folder).toEqual(mayImport.get(folder));
});

/** A declaration of a function, a method or a class; not a call. */
const declares = (text: string, name: string) =>
  new RegExp(
    `^\\s*(?:export |async |static |get |\\*)*(?:function\\*? |class |const )?${name}(?:<[^>]*>)?(?:\\(| =| \\{| extends| implements)`,
    "m",
  ).test(text);

const paths = sectionOf("Paths")
  .split(/^### /m)
  .slice(1)
  .map((text) => ({
    title: text.slice(0, text.indexOf("\n")),
    stops: rowsOf(text)
      .slice(1)
      .map(([number, file = "", name = ""]) => ({
        number,
        file: namesIn(file)[0] ?? "",
        name: namesIn(name)[0] ?? "",
      })),
  }));

test("there are five paths, and those with a limit have no more stops than that", () => {
  expect(paths).toHaveLength(5);
  const limits = [9, 13, 13, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (const [index, { title, stops }] of paths.entries()) {
    expect(
      stops.map(({ number }) => Number(number)),
      title,
    ).toEqual(stops.map((_, at) => at + 1));
    expect(stops.length, title).toBeGreaterThan(3);
    expect(stops.length, title).toBeLessThanOrEqual(limits[index] ?? 0);
  }
});

test.each(paths)("each stop of the path $title is a function of its file", ({ stops }) => {
  const missing = stops.filter(({ file, name }) => {
    const path = join(SRC, file);
    return !existsSync(path) || !declares(readFileSync(path, "utf8"), name);
  });
  expect(missing).toEqual([]);
});

test("every file that the page names exists", () => {
  const named = Array.from(page.matchAll(/`((?:[\w-]+\/)+[\w.-]*\.ts)`/g), ([, file = ""]) => file);
  expect(named.length).toBeGreaterThan(50);
  const missing = named.filter((file) => !existsSync(join(file.startsWith("test/") ? ROOT : SRC, file)));
  expect(missing).toEqual([]);
});

test("every invariant names a file or folder that enforces it, and a test", () => {
  const rows = rowsOf(sectionOf("Invariants")).slice(1);
  expect(rows.length).toBeGreaterThan(15);
  for (const [invariant = "", where = "", tests = ""] of rows) {
    expect(namesIn(where).length, invariant).toBeGreaterThan(0);
    expect(namesIn(tests).length, invariant).toBeGreaterThan(0);
    for (const file of namesIn(tests)) expect(file, invariant).toMatch(/^test\/.+\.test\.ts$/);
  }
});

test("every function in the effect column occurs in src/", () => {
  const code = readdirSync(SRC, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => readFileSync(join(SRC, file), "utf8"))
    .join("\n");
  const named = rowsOf(sectionOf("Paths")).flatMap(([, , , effect = ""]) =>
    Array.from(effect.matchAll(/`(?:(\w+)\.)?([A-Za-z]{6,})`/g), ([, , name = ""]) => name),
  );
  expect(named.length).toBeGreaterThan(10);
  expect(named.filter((name) => !new RegExp(`\\b${name}\\b`).test(code))).toEqual([]);
});

test("the README names stops of the path of a change, in their order", () => {
  const readme = readFileSync(join(ROOT, "README.md"), "utf8");
  const named = Array.from(readme.matchAll(/^\| \d \| \[`([\w/.-]+)`\]/gm), ([, file = ""]) => file);
  const stops = paths[0]?.stops.map(({ file }) => file) ?? [];
  expect(named.length).toBeGreaterThanOrEqual(5);
  const at = named.map((file) => stops.indexOf(file));
  expect(at).toEqual(at.filter((index) => index >= 0).sort((a, b) => a - b));
});
