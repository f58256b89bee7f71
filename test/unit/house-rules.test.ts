/** Checks for files and texts that must never be committed, because they hold on one machine only or look careless. */
import { execFileSync } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ROOT } from "../support/build.ts";

const TOP_LEVEL = new Set([
  ".ci",
  ".dockerignore",
  ".env.example",
  ".gitignore",
  ".npmrc",
  "CHANGELOG.md",
  "CONTRIBUTING.md",
  "Dockerfile",
  "LICENSE",
  "README.md",
  "SECURITY.md",
  "bench",
  "clients",
  "config",
  "docker-compose.yml",
  "docs",
  "examples",
  "package-lock.json",
  "package.json",
  "proto",
  "scripts",
  "src",
  "test",
  "tsconfig.json",
]);

/** Everything that is, or would be, committed. */
const names = execFileSync("git", ["ls-files", "-co", "--exclude-standard", "-z"], {
  cwd: ROOT,
  encoding: "utf8",
})
  .split("\0")
  .filter((name) => name !== "" && statSync(join(ROOT, name), { throwIfNoEntry: false })?.isFile());

const texts = names.map((name) => ({ name, text: readFileSync(join(ROOT, name), "utf8") }));

function linesWith(pattern: RegExp): string[] {
  return texts.flatMap(({ name, text }) =>
    text
      .split("\n")
      .flatMap((line, at) => (pattern.test(line) ? [`${name}:${at + 1}: ${line.trim().slice(0, 120)}`] : [])),
  );
}

/** Put together here, so that this file does not name them itself. */
const REGISTRIES = ["npmjs", "yarnpkg", "npmmirror", "pypi", "pythonhosted", "npm.pkg.github"];
const HOSTS = new RegExp(`\\b(?:[\\w-]+\\.)*(?:${REGISTRIES.join("|")})\\.(?:org|com)\\b`, "i");
const escaped = (text: string) => text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");

test("the lockfile names no place that a package came from", () => {
  const lockfile: unknown = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8"));
  expect(JSON.stringify(lockfile)).not.toContain('"resolved"');
});

test("no file names a package registry, nor sets one", () => {
  expect(linesWith(HOSTS)).toEqual([]);
  expect(linesWith(/^\s*(?:@[\w-]+:)?registry\s*=/)).toEqual([]);
});

test("no file holds a path of the machine it was written on", () => {
  const here = [ROOT.replace(/\/$/, ""), homedir()].filter((path) => path.length > 5).map(escaped);
  const elsewhere = ["Users", "home", "root", "work"].map((top) => `(?<![\\w.~-])/${top}/[\\w.-]+`);
  expect(linesWith(new RegExp([...here, ...elsewhere].join("|")))).toEqual([]);
});

test("no test waits by `vi.waitFor` itself, which gives up after a second", () => {
  const waits = linesWith(/\bvi\.wait(?:For|Until)\(/).filter(
    (line) => !/^test\/(?:support\/until-passes|unit\/house-rules)/.test(line),
  );
  expect(waits).toEqual([]);
});

test("no file holds the markers of a merge that was not resolved", () => {
  expect(linesWith(/^(?:<{7}|>{7}) /)).toEqual([]);
});

test("the top level holds what belongs there, and nothing else", () => {
  const top = new Set(names.map((name) => name.split("/")[0] ?? ""));
  expect([...top].filter((name) => !TOP_LEVEL.has(name))).toEqual([]);
});

/** Made by scripts/screenshot-demo.mjs and scripts/screenshot-console.mjs. */
const PICTURES = [
  "docs/demo.png",
  "docs/demo-dark.png",
  "docs/console-rules.png",
  "docs/console-trace.png",
  "docs/console-try.png",
  "docs/console-overview.png",
];
const PICTURE_BYTES_MAX = 150_000;

test("nothing binary is committed but the pictures of the pages, and those are small", () => {
  const binary = texts.filter(({ text }) => text.includes("\0")).map(({ name }) => name);
  expect(binary.filter((name) => !PICTURES.includes(name))).toEqual([]);
  for (const name of PICTURES) expect(statSync(join(ROOT, name)).size).toBeLessThanOrEqual(PICTURE_BYTES_MAX);
});

/** A reader stumbles over these. Each has a plainer word: receives, is available, amounts to, again, fix, cannot. */
const WORDS =
  /\b(?:(?:is|are|was|were|be) told|(?:to|can) be had|comes? to|anew|mend(?:s|ed)?|can not|shut out|dear|whoever)\b/i;
/** A sentence names its subject first. Questions may begin with the question. */
const OPENINGS =
  /(?:^\s*|[.:;!]\s+|\/\*\*\s+|\/\/\s+|\*+\s+|#\s+|\|\s+|-\s+|["'`(]\s*)(?:What|Who|Whoever|One that|That which)\s(?![^.|"]*\?)/;

/** Pages, all of them. */
const isPage = (name: string) => name.endsWith(".md");
/** This file names the forbidden words. */
const OWN_NAME = "test/unit/house-rules.test.ts";
/** Folders of code that keep to it. */
const PLAIN_FOLDERS = ["bench", "clients", "docs/.vitepress", "examples", "scripts", "src", "test"];
const isPlain = (name: string) =>
  isPage(name) ||
  (name !== OWN_NAME &&
    /\.(?:ts|tsx|mjs|py)$/.test(name) &&
    PLAIN_FOLDERS.some((folder) => name.startsWith(`${folder}/`)));

/** Titles of tests are quoted as they are. */
const QUOTED_TITLE = /^- `test\//;

/** The lines of a file that hold prose: of a page everything but its code. */
function proseOf(name: string, text: string): { line: string; at: number }[] {
  let isCode = false;
  return text.split("\n").flatMap((line, at) => {
    const isFence = isPage(name) && line.startsWith("```");
    if (isFence) isCode = !isCode;
    return isFence || isCode || QUOTED_TITLE.test(line) ? [] : [{ line, at: at + 1 }];
  });
}

test("pages, and the folders that keep to it, are written in plain English", () => {
  const found = texts
    .filter(({ name }) => isPlain(name))
    .flatMap(({ name, text }) =>
      proseOf(name, text)
        .filter(({ line }) => WORDS.test(line) || OPENINGS.test(line))
        .map(({ line, at }) => `${name}:${at}: ${line.trim().slice(0, 120)}`),
    );
  expect(found).toEqual([]);
});

test.each([
  ["Whoever reads slowly is not cut off.", true],
  ["/** What is made of a part of a filter. */", true],
  ["It ends. One that stalls is closed.", true],
  ["| What a subscription is told |", true],
  ["Errors can not be had here.", true],
  ["What do you want to do?", false],
  ["The service says what to do.", false],
  ["A client that stalls is closed.", false],
])("%s breaks the rules: %s", (line, breaks) => expect(WORDS.test(line) || OPENINGS.test(line)).toBe(breaks));
