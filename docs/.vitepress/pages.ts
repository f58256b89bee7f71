/** Which Markdown files are pages of the site, and where a link on one of them leads. */
import { existsSync, statSync } from "node:fs";
import { dirname, join, normalize } from "node:path/posix";

/** Pages outside `docs/`, by file. */
const OUTSIDE: Readonly<Record<string, string>> = {
  "CHANGELOG.md": "changelog.md",
  "CONTRIBUTING.md": "contributing.md",
  "SECURITY.md": "reporting.md",
  "bench/README.md": "bench.md",
  "clients/python/README.md": "python.md",
  "examples/README.md": "examples/index.md",
  "examples/django/README.md": "examples/django.md",
  "examples/react/README.md": "examples/react.md",
  "examples/push/README.md": "examples/push.md",
  "examples/webrtc/README.md": "examples/webrtc.md",
  "examples/load/README.md": "examples/load/index.md",
  "examples/load/k6/README.md": "examples/load/k6.md",
  "examples/load/gatling/README.md": "examples/load/gatling.md",
  "examples/load/jmeter/README.md": "examples/load/jmeter.md",
};

/** The path of a page on the site; undefined for a file that is not a page. */
export function toPage(file: string): string | undefined {
  const outside = OUTSIDE[file];
  if (outside !== undefined) return outside;
  if (!file.startsWith("docs/") || !file.endsWith(".md")) return undefined;
  return file.slice("docs/".length).replace(/(^|\/)README\.md$/, "$1index.md");
}

/** GitHub's anchors, so that one link works on both. */
export const slugify = (heading: string): string =>
  heading
    .trim()
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-");

export interface Target {
  readonly href: string;
  /** A file of the repository that the site has to carry along. */
  readonly file?: string;
}

/**
 * Where a link in `from` (a file of the repository) leads on the site. Files that are not pages are copied into the
 * site as plain text, because a site has no other way to show them.
 * @throws if the file does not exist.
 */
export function resolveLink(root: string, from: string, link: string): Target {
  if (/^[a-z][a-z+.-]*:/i.test(link) || link.startsWith("#")) return { href: link };
  const [path = "", anchor] = link.split("#");
  const file = normalize(join(dirname(from), path));
  if (file.startsWith("..") || !existsSync(join(root, file))) {
    throw new Error(`${from}: the link ${link} leads to no file`);
  }
  if (statSync(join(root, file)).isDirectory())
    throw new Error(`${from}: the link ${link} leads to a folder`);
  if (file === "README.md") return { href: "/" };
  const page = toPage(file);
  if (page === undefined) return { href: `/files/${file}.txt`, file };
  return { href: `/${page}${anchor === undefined ? "" : `#${anchor}`}` };
}
