/** The pages name files, tests and sections: all of them exist. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { parseConfig } from "../../../src/config/config.ts";
import { ROOT } from "../../support/build.ts";

const read = (file: string) => readFileSync(join(ROOT, file), "utf8");

const pages = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]
  .concat(["clients/python/README.md", "examples/README.md", "examples/django/README.md"])
  .concat(
    readdirSync(join(ROOT, "docs"), { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".md"))
      .map((file) => join("docs", file)),
  )
  .filter((file) => existsSync(join(ROOT, file)));

test("each guarantee names tests, and every test that is named is there under that name", () => {
  const page = read("docs/guarantees.md");
  const sections = page.split(/^## (?=G\d )/m).slice(1);
  expect(sections.map((section) => section.slice(0, 2))).toEqual(["G1", "G2", "G3", "G4", "G5", "G6"]);
  for (const section of sections) {
    const named = Array.from(
      section.matchAll(/^- `(test\/[^`]+)`: (.+)$/gm),
      ([, file = "", title = ""]) => ({ file, title }),
    );
    expect(named.length, section.slice(0, 20)).toBeGreaterThan(1);
    for (const { file, title } of named) {
      expect(existsSync(join(ROOT, file)) && read(file).includes(`"${title}"`), `${file}: ${title}`).toBe(
        true,
      );
    }
  }
});

test.each(pages)("every link of %s leads to a file, and to a heading of it", (page) => {
  const text = read(page).replaceAll(/```[\s\S]*?```/g, "");
  for (const [, link = ""] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^[a-z]+:/.test(link)) continue;
    const [path = "", anchor] = link.split("#");
    const target = path === "" ? page : join(dirname(page), path);
    expect(existsSync(join(ROOT, target)), `${page}: ${link}`).toBe(true);
    if (anchor !== undefined) expect(headingsOf(read(target)), `${page}: ${link}`).toContain(anchor);
  }
});

/** The anchors that Markdown renderers give to headings. */
const headingsOf = (text: string) =>
  Array.from(text.matchAll(/^#+ (.+)$/gm), ([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );

test("the rules of docs/rules.md are a configuration that the service takes", () => {
  const [, yaml = ""] = /```yaml\n([\s\S]*?)```/.exec(read("docs/rules.md")) ?? [];
  const parsed = parseConfig(yaml, "rules.md", { TIDEWIRE_JWT_SECRET: "x".repeat(32) });
  expect(parsed.ok ? [] : parsed.problems).toEqual([]);
});

test.each(["SECURITY.md", "docs/security.md"])(
  "%s names only tests, options and metrics that exist",
  (page) => {
    const text = read(page);
    for (const [, file = ""] of text.matchAll(/`(test\/[\w/.-]+)`/g))
      expect(existsSync(join(ROOT, file)), file).toBe(true);
    const reference = read("docs/configuration.md");
    const operations = read("docs/operations.md");
    let named = 0;
    for (const [, section = "", option = ""] of text.matchAll(/`(server|auth|limits|mongodb)\.([\w.]+)/g)) {
      const [, own = ""] =
        new RegExp(`^## ${section}\\n([\\s\\S]*?)(?=^## |(?![\\s\\S]))`, "m").exec(reference) ?? [];
      expect(own.includes(`| \`${option}\` |`), `${section}.${option}`).toBe(true);
      named++;
    }
    expect(named).toBeGreaterThan(5);
    for (const [, metric = ""] of text.matchAll(/`(tidewire_\w+)/g))
      expect(operations, metric).toContain(`\`${metric}\``);
  },
);
