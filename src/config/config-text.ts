import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  Scalar,
  visit,
} from "yaml";
import { interpolate } from "./environment.ts";

/** The keys and list indexes from the top of the file to a value. */
export type Path = readonly (string | number)[];

/** One problem of the file: its location, and what to write instead. */
export interface ConfigProblem {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** As in `collections.orders.rules[0].when`; empty for the file as a whole. */
  readonly path: string;
  readonly message: string;
}

/** A YAML (or JSON) text as plain values, which remembers the position of each of them in the text. */
export interface ConfigText {
  readonly value: unknown;
  readonly problems: ConfigProblem[];
  /** A problem at the value under `path` (or its key, or the closest parent that exists). */
  problem(path: Path, message: string, at?: "key" | "value"): ConfigProblem;
  /** The value at `path`, in words for an error text, as in the file: environment variables are not substituted. */
  found(path: Path): string;
  /** Whether the value at `path` is a string written without quotes. */
  isUnquoted(path: Path): boolean;
  /**
   * The path that dotted keys lead to, starting at `path`. A key may contain dots itself. Ends at the last part that
   * exists in the file.
   */
  inside(path: Path, dotted: string): Path;
}

/**
 * Values that no error text may show, even if they are written into the file itself: secrets, and URLs that may contain
 * one.
 */
const HIDDEN = [
  "mongodb.uri",
  "mongodb.tail.redis.url",
  "auth.jwt.secret",
  "auth.jwt.publicKey",
  "auth.jwt.jwksUri",
  "server.tls.key",
  "server.grpc.tls.key",
  "server.admin.token",
  "server.admin.tokens.sha256",
  "server.admin.jwt.secret",
  "server.admin.jwt.publicKey",
  "server.admin.jwt.jwksUri",
  "push.vapid.privateKey",
];
/** The same for the options of a sink's target, wherever they are in it. */
const HIDDEN_IN_SINKS = ["url", "secret", "password", "headers"];

/**
 * Whether the value at a path may be a secret. So may a string in the place of a section that holds one, such as
 * `mongodb: "mongodb://…"`.
 */
export function isHidden(path: Path): boolean {
  // The same options stand in each entry of a list.
  const parts = path.filter((part) => typeof part === "string");
  if (parts[0] === "sinks") return isHiddenInSinks(parts);
  const names = parts.join(".");
  return HIDDEN.some((name) => `${name}.`.startsWith(`${names}.`) || names.startsWith(`${name}.`));
}

/** `sinks.NAME.to.KIND` has options; a string in the place of one of the four may be the address of a target. */
function isHiddenInSinks(parts: readonly string[]): boolean {
  if (parts.length <= 2) return true;
  return parts[2] === "to" && (parts.length <= 4 || parts.some((part) => HIDDEN_IN_SINKS.includes(part)));
}

/** A file with more is not a configuration. The limits are needed because aliases can make a small file huge. */
const MAX_NODES = 50_000;
const MAX_DEPTH = 64;

/** Own texts for the parser's errors, because the parser's texts quote the file, which may contain secrets. */
const SYNTAX_TEXTS: Readonly<Record<string, string>> = {
  TAB_AS_INDENT: "a tab in the indentation; YAML allows spaces only: replace each tab by two spaces",
  DUPLICATE_KEY: "a key that occurs twice in one map; remove one of the two",
  BAD_INDENT:
    "the indentation fits neither the line above nor its parent, or a bracket above is not closed; close it, or align the keys of one map with spaces",
  BAD_ALIAS:
    "an alias (*name) without an anchor (&name) before it; put a string that begins with * in quotes",
  BAD_DQ_ESCAPE:
    "an escape sequence that YAML does not know; write \\\\ for a backslash, or use single quotes",
  BAD_SCALAR_START: "a string that begins with a reserved character (@, `, %, |, >); put it in quotes",
  MULTIPLE_DOCS: "more than one document (---) in the file; keep one",
  NON_STRING_KEY: "a key that is not a string; put it in quotes",
  TAG_RESOLVE_FAILED: "a tag (!name) that is not supported; remove it",
  MISSING_CHAR: "a bracket, quote or comma is missing, here or on the lines above",
  MULTILINE_IMPLICIT_KEY:
    "a line that is neither `key: value` nor a list item (a colon or a quote may be missing)",
  BLOCK_AS_IMPLICIT_KEY:
    "a map inside a line (`a: b: c`); put the text in quotes, or the inner map on its own lines",
};
const SYNTAX_DEFAULT = "not valid YAML here; a colon, a quote, a dash or the indentation may be wrong";

/** A path as errors show it, such as `collections.orders.rules[0].filter`. */
export function formatPath(path: Path): string {
  let text = "";
  for (const part of path) {
    if (typeof part === "number") text += `[${part}]`;
    else if (/^[\w-]+$/.test(part)) text += text === "" ? part : `.${part}`;
    else text += `[${JSON.stringify(part)}]`;
  }
  return text;
}

/** Reads a whole text. Syntax errors and unset variables are in `problems`; nothing is thrown. */
export function readConfigText(text: string, file: string, env: NodeJS.ProcessEnv): ConfigText {
  const reader = new ConfigReader(text, file, env);
  return reader;
}

class ConfigReader implements ConfigText {
  readonly value: unknown;
  readonly problems: ConfigProblem[] = [];
  readonly #file: string;
  readonly #env: NodeJS.ProcessEnv;
  /**
   * Whether merged maps nest too deeply. The file is refused then, and no further map is merged: their number grows
   * exponentially with the depth, so even their problems could be too many.
   */
  #mergesTooDeep = false;
  readonly #lines = new LineCounter();
  readonly #nodes = new Map<string, { key?: Node; value: Node | null }>();
  #count = 0;

  constructor(text: string, file: string, env: NodeJS.ProcessEnv) {
    this.#file = file;
    this.#env = env;
    const document = parseDocument(text, {
      lineCounter: this.#lines,
      prettyErrors: false,
      stringKeys: true,
      resolveKnownTags: false,
      // The library compares each key with all before it: 60,000 keys would take 12 s.
      uniqueKeys: false,
      // "silent" would also swallow the error about a second document.
      logLevel: "error",
    });
    for (const { code, pos } of [...document.errors, ...document.warnings]) {
      this.problems.push(this.#at(pos[0], [], SYNTAX_TEXTS[code] ?? SYNTAX_DEFAULT));
    }
    for (const offset of repeatedKeys(document)) {
      this.problems.push(this.#at(offset, [], SYNTAX_TEXTS["DUPLICATE_KEY"] ?? SYNTAX_DEFAULT));
    }
    if (this.problems.length > 0) return;
    // The library searches the whole document for each alias, so the results are kept for repeated aliases.
    const resolved = new Map<unknown, unknown>();
    const resolve = (node: unknown) => {
      if (!isAlias(node)) return node;
      if (!resolved.has(node)) resolved.set(node, node.resolve(document));
      return resolved.get(node);
    };
    this.value = this.#convert(document.contents, [], resolve);
  }

  problem(path: Path, message: string, at: "key" | "value" = "value"): ConfigProblem {
    for (let length = path.length; length >= 0; length -= 1) {
      const entry = this.#nodes.get(JSON.stringify(path.slice(0, length)));
      if (entry === undefined) continue;
      // A missing value has no location, so the problem is shown at the key that should contain it.
      const node =
        length < path.length || at === "key" ? (entry.key ?? entry.value) : (entry.value ?? entry.key);
      return this.#at(node?.range?.[0] ?? 0, path, message);
    }
    return this.#at(0, path, message);
  }

  found(path: Path): string {
    const node = this.#nodes.get(JSON.stringify(path))?.value;
    if (node === undefined) return "nothing";
    if (isMap(node)) return "a map";
    if (isSeq(node)) return this.#foundList(node.items, path);
    if (!isScalar(node) || node.value === null) return "an empty value";
    if (isHidden(path)) return "a string that is not shown here";
    const text = typeof node.value === "string" ? JSON.stringify(node.value) : String(node.value);
    return text.length > 80 ? `${text.slice(0, 77)}…` : text;
  }

  isUnquoted(path: Path): boolean {
    const node = this.#nodes.get(JSON.stringify(path))?.value;
    return isScalar(node) && node.type === Scalar.PLAIN;
  }

  inside(path: Path, dotted: string): Path {
    const parts = dotted === "" ? [] : dotted.split(".");
    for (let length = parts.length; length > 0; length -= 1) {
      const key = parts.slice(0, length).join(".");
      const isItem = isSeq(this.#nodes.get(JSON.stringify(path))?.value) && /^\d+$/.test(key);
      const next = [...path, isItem ? Number(key) : key];
      if (this.#nodes.has(JSON.stringify(next))) return this.inside(next, parts.slice(length).join("."));
    }
    return path;
  }

  /** A short list of short scalars is shown as it is, any other as just "a list". */
  #foundList(items: readonly unknown[], path: Path): string {
    if (items.length > 6 || isHidden(path) || !items.every(isScalar)) return "a list";
    const text = `[${items.map((item) => String(isScalar(item) ? item.value : item)).join(", ")}]`;
    return text.length > 80 ? "a list" : text;
  }

  #at(offset: number, path: Path, message: string): ConfigProblem {
    const { line, col } = this.#lines.linePos(offset);
    return {
      file: this.#file,
      line: Math.max(line, 1),
      column: Math.max(col, 1),
      path: formatPath(path),
      message,
    };
  }

  #convert(given: unknown, path: Path, resolve: (node: unknown) => unknown, key?: Node): unknown {
    const node = resolve(given);
    const value = isNode(node) ? node : null;
    if (value === null && isAlias(given)) {
      this.problems.push(this.#at(given.range?.[0] ?? 0, path, SYNTAX_TEXTS["BAD_ALIAS"] ?? SYNTAX_DEFAULT));
    }
    this.#nodes.set(JSON.stringify(path), { value, ...(key === undefined ? {} : { key }) });
    this.#count += 1;
    if (this.#count > MAX_NODES || path.length > MAX_DEPTH) {
      if (this.#count <= MAX_NODES + 1) {
        const text = `more than ${MAX_NODES} values or ${MAX_DEPTH} levels, which no configuration needs`;
        this.problems.push(this.problem(path, text));
      }
      this.#count = MAX_NODES + 1;
      return null;
    }
    if (isMap(value)) return this.#convertMap(value.items, path, resolve);
    if (isSeq(value)) return value.items.map((item, index) => this.#convert(item, [...path, index], resolve));
    return value instanceof Scalar ? this.#convertScalar(value, path) : null;
  }

  #convertMap(
    items: readonly Item[],
    path: Path,
    resolve: (node: unknown) => unknown,
  ): Record<string, unknown> {
    const entries = this.#withMerged(items, path, resolve).map(({ key, value }): [string, unknown] => {
      const name = nameOf({ key, value });
      const here = [...path, name];
      if (name === "__proto__" && path[0] === "collections") {
        // The schema library drops this key. A rule would lose its condition on such a field and grant more than it
        // says.
        this.problems.push(this.problem(path, "no rule can speak of a field __proto__; rename the field"));
      }
      return [name, this.#convert(value, here, resolve, isNode(key) ? key : undefined)];
    });
    // fromEntries defines own properties: a key `__proto__` stays a key.
    return Object.fromEntries(entries);
  }

  /** The items of a map with those that a merge key (`<<: *name`, as in Compose) adds. Keys of the map itself prevail. */
  #withMerged(
    items: readonly Item[],
    path: Path,
    resolve: (node: unknown) => unknown,
    depth = 0,
  ): readonly Item[] {
    if (this.#mergesTooDeep || !items.some(isMergeKey)) return items;
    const own = items.filter((item) => !isMergeKey(item));
    const merged = new Map<string, Item>();
    for (const { key, value } of items.filter(isMergeKey)) {
      const given = resolve(value);
      const maps = isSeq(given) ? given.items.map(resolve) : [given];
      if (depth > MAX_MERGES) this.#mergesTooDeep = true;
      if (!maps.every(isMap) || depth > MAX_MERGES) {
        const text = "a merge key (<<) takes a map, or a list of maps, mostly as *name; write one";
        this.problems.push(this.#at(isNode(key) ? (key.range?.[0] ?? 0) : 0, path, text));
        continue;
      }
      // Of several maps the first prevails (YAML merge keys, "the earlier ones override").
      for (const map of maps)
        for (const item of this.#withMerged(map.items, path, resolve, depth + 1)) {
          const name = nameOf(item);
          if (!merged.has(name)) merged.set(name, item);
        }
    }
    for (const item of own) merged.delete(nameOf(item));
    return [...merged.values(), ...own];
  }

  #convertScalar(node: Scalar, path: Path): unknown {
    const { value, source } = node;
    if (typeof value === "number" && /^[-+]?\d+$/.test(source ?? "") && !Number.isSafeInteger(value)) {
      const text = `${source} is beyond 2^53 and would lose digits; write { $numberLong: "${source}" }`;
      this.problems.push(this.problem(path, text));
    }
    if (typeof value !== "string") return value;
    const result = interpolate(value, this.#env);
    if ("problem" in result) {
      this.problems.push(this.problem(path, result.problem));
      return "";
    }
    return result.text;
  }
}

/** One entry of a map, as the parser gives it. */
interface Item {
  readonly key: unknown;
  readonly value: unknown;
}

/** How deeply merged maps may contain merged maps. */
const MAX_MERGES = 8;

const isMergeKey = ({ key }: Item): boolean =>
  isScalar(key) && key.value === "<<" && key.type === Scalar.PLAIN;
const nameOf = ({ key }: Item): string => (isScalar(key) ? String(key.value) : String(key));

/** The offsets of keys that occur again in their map. */
function repeatedKeys(document: Document): number[] {
  const offsets: number[] = [];
  visit(document, {
    Map(_key, { items }) {
      const seen = new Set<unknown>();
      for (const { key } of items) {
        const name = isScalar(key) ? key.value : key;
        if (seen.has(name)) offsets.push(isNode(key) ? (key.range?.[0] ?? 0) : 0);
        seen.add(name);
      }
    },
  });
  return offsets;
}
