/** The code of documentation pages: as files of this package, so that it imports what users import. */
import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { transform } from "esbuild";
import { parse as parseYaml } from "yaml";
import { ROOT } from "./build.ts";

export interface Block {
  readonly language: string;
  readonly text: string;
  /** The heading above it. */
  readonly heading: string;
}

export function blocksOf(page: string): Block[] {
  const text = readFileSync(join(ROOT, "docs", page), "utf8");
  let heading = "";
  return Array.from(
    text.matchAll(/^#+ (.+)$|^```(\w+)\n([\s\S]*?)^```$/gm),
    ([, title, language, code]): Block[] => {
      if (title !== undefined) heading = title;
      return language === undefined || code === undefined ? [] : [{ language, text: code, heading }];
    },
  ).flat();
}

/** The block of a language under a heading; of several the one that holds `part`. */
export function blockUnder(page: string, heading: string, language: string, part = ""): string {
  const found = blocksOf(page).filter(
    (block) => block.heading === heading && block.language === language && block.text.includes(part),
  );
  const [only] = found;
  if (only === undefined || found.length > 1)
    throw new Error(`${page}, ${heading}: ${found.length} ${language}`);
  return only.text;
}

/** The collections that a page's rules make, all together. */
export function collectionsOf(page: string, headings?: readonly string[]): Record<string, unknown> {
  const rules = blocksOf(page).filter(
    ({ language, text, heading }) =>
      language === "yaml" && /^collections:/m.test(text) && (headings?.includes(heading) ?? true),
  );
  return Object.assign({}, ...rules.map(({ text }) => parseYaml(text).collections));
}

/** The section `presence` of a page, if it has one. */
export function presenceOf(page: string, headings?: readonly string[]): Record<string, unknown> | undefined {
  const found = blocksOf(page).find(
    ({ language, text, heading }) =>
      language === "yaml" && /^presence:/m.test(text) && (headings?.includes(heading) ?? true),
  );
  return found === undefined ? undefined : parseYaml(found.text).presence;
}

/** A folder inside the package: from there, `tidewire/client` is what was built. */
export async function guideFolder(): Promise<{ folder: string; remove: () => Promise<void> }> {
  await mkdir(join(ROOT, "dist"), { recursive: true });
  const folder = await mkdtemp(join(ROOT, "dist", "guide-"));
  return { folder, remove: () => rm(folder, { recursive: true, force: true }) };
}

/** Compiles a block and writes it where it can be imported or run. */
export async function writeModule(folder: string, name: string, code: string): Promise<string> {
  const { code: script } = await transform(code, { loader: "tsx", jsx: "automatic", format: "esm" });
  const file = join(folder, `${name}.mjs`);
  await writeFile(file, script);
  return file;
}
