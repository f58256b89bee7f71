/** Links of the documentation site: the build fails on a dead one, so that every link leads somewhere. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { resolveLink, slugify, toPage } from "../../../docs/.vitepress/pages.ts";
import { ROOT } from "../../support/build.ts";

test.each([
  ["docs/README.md", "index.md"],
  ["docs/decisions/README.md", "decisions/index.md"],
  ["docs/moving/from-firestore.md", "moving/from-firestore.md"],
  ["CHANGELOG.md", "changelog.md"],
  ["examples/README.md", "examples/index.md"],
  ["clients/python/README.md", "python.md"],
  ["README.md", undefined],
  ["src/feed/notes.md", undefined],
])("%s is the page %s of the site", (file, page) => expect(toPage(file)).toBe(page));

test.each([
  ["docs/start.md", "rules.md#2-editing-while-it-runs", { href: "/rules.md#2-editing-while-it-runs" }],
  ["docs/start.md", "#3-a-client", { href: "#3-a-client" }],
  ["docs/moving/from-firestore.md", "../rules.md", { href: "/rules.md" }],
  ["docs/security.md", "../SECURITY.md", { href: "/reporting.md" }],
  ["CONTRIBUTING.md", "docs/README.md", { href: "/index.md" }],
  ["docs/start.md", "../README.md", { href: "/" }],
  ["docs/start.md", "https://example.com/a.md", { href: "https://example.com/a.md" }],
  [
    "docs/deployment.md",
    "../config/nginx.conf",
    { href: "/files/config/nginx.conf.txt", file: "config/nginx.conf" },
  ],
])("in %s the link %s leads to a page, or to a copy of the file", (from, link, target) =>
  expect(resolveLink(ROOT, from, link)).toEqual(target),
);

test.each(["missing.md", "../src/missing.ts", "../../outside.md", "../src"])(
  "the build fails on the link %s, which leads to no file",
  (link) =>
    expect(() => resolveLink(ROOT, "docs/start.md", link)).toThrow(/docs\/start\.md: the link .* leads to/),
);

test("anchors are those of GitHub, also where a heading begins with a number", () => {
  expect(slugify("3.2 `subscribed`, and why")).toBe("32-subscribed-and-why");
});

test("the navigation names only pages that exist", () => {
  const config = readFileSync(join(ROOT, "docs", ".vitepress", "config.ts"), "utf8");
  const named = Array.from(config.matchAll(/page\("[^"]+", "\/([^"]*)"\)/g), ([, path = ""]) => path);
  expect(named.length).toBeGreaterThan(20);
  const docs = [
    "",
    "decisions/",
    "examples/",
    "protocol-kit/",
    "changelog",
    "contributing",
    "bench",
    "reporting",
    "python",
  ];
  for (const path of named.filter((one) => !docs.includes(one))) {
    expect(() => readFileSync(join(ROOT, "docs", `${path}.md`)), path).not.toThrow();
  }
});
