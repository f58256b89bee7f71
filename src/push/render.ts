/**
 * Fills templates of notifications with the fields of a document. It receives documents only as clients receive them, so
 * a field that the rule hides is missing here, and renders as nothing.
 */

/** The texts of one notification. */
export interface Texts {
  readonly title?: string | undefined;
  readonly body?: string | undefined;
  readonly url?: string | undefined;
}

/** A document in the form of JSON, as clients receive it. */
export type ShownDocument = Readonly<Record<string, unknown>>;

const PLACEHOLDER = /\{\{\s*([^{}\s]+)\s*\}\}/g;

/** Characters of one value. A longer one is cut off. */
const VALUE_MAX = 200;
/** Elements of an array that are written. */
const ELEMENTS_MAX = 10;
/** Size of each text inside of the payload, in bytes of JSON. Together with `data` they fit into one push. */
const TITLE_BYTES = 256;
const BODY_BYTES = 1_024;
const URL_BYTES = 1_024;

/** The fault of a template; `null` if there is none. */
export function templateProblem(template: string): string | null {
  if (!/\{\{|\}\}/.test(template.replaceAll(PLACEHOLDER, ""))) return null;
  return "has braces that are no placeholder; allowed: {{path}}, such as {{customer.name}}";
}

/** Fills the templates. A text that comes out empty is left out. */
export function renderTexts(template: Texts, document: ShownDocument): Texts {
  const plain = (text: string | undefined) =>
    text?.replaceAll(PLACEHOLDER, (_, path) => textAt(document, path));
  const url = renderUrl(template.url, document);
  return withoutEmpty({
    title: clip(plain(template.title), TITLE_BYTES),
    body: clip(plain(template.body), BODY_BYTES),
    // Half an address leads somewhere else.
    url: url !== undefined && jsonBytes(url) > URL_BYTES ? undefined : url,
  });
}

/**
 * Fills an address. It is left out if the values change the origin or the number of parts of its path: `/{{team}}/{{_id}}`
 * without a team would be `//ID`, an address of another host.
 */
function renderUrl(template: string | undefined, document: ShownDocument): string | undefined {
  if (template === undefined) return undefined;
  const url = template.replaceAll(PLACEHOLDER, (_, path) => encodeURIComponent(textAt(document, path)));
  return formOf(url) === formOf(template.replaceAll(PLACEHOLDER, "x")) ? url : undefined;
}

/** The origin of an address on any page of the application, and the number of parts of its path. */
function formOf(url: string): string | null {
  if (!URL.canParse(url, "https://page.invalid")) return null;
  const { origin, pathname } = new URL(url, "https://page.invalid");
  return `${origin} ${pathname.split("/").length}`;
}

const withoutEmpty = (texts: Texts): Texts =>
  Object.fromEntries(Object.entries(texts).filter(([, text]) => text !== undefined && text !== ""));

/** The value at a path as text; empty if there is none, or if it is an object. */
function textAt(document: ShownDocument, path: string): string {
  let value: unknown = document;
  for (const name of path.split(".")) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return "";
    if (Array.isArray(value) && !/^\d+$/.test(name)) return "";
    // The conditions have checked that it is an object with this key.
    value = (value as Record<string, unknown>)[name];
  }
  const text = Array.isArray(value)
    ? value.slice(0, ELEMENTS_MAX).map(scalarText).join(", ")
    : scalarText(value);
  return clipped(clean(text));
}

function scalarText(value: unknown): string {
  if (typeof value === "string") return value;
  return typeof value === "number" || typeof value === "boolean" ? String(value) : "";
}

/** Notifications have no use for control characters, and halves of a surrogate pair are not valid UTF-8. */
const clean = (text: string): string => Buffer.from(text.replaceAll(/\p{Cc}+/gu, " ")).toString();

function clipped(text: string): string {
  if (text.length <= VALUE_MAX) return text;
  return `${[...text.slice(0, 2 * VALUE_MAX)].slice(0, VALUE_MAX - 1).join("")}…`;
}

const jsonBytes = (text: string): number => Buffer.byteLength(JSON.stringify(text)) - 2;

function clip(text: string | undefined, bytesMax: number): string | undefined {
  if (text === undefined || jsonBytes(text) <= bytesMax) return text;
  const kept: string[] = [];
  let bytes = Buffer.byteLength("…");
  for (const character of text) {
    bytes += jsonBytes(character);
    if (bytes > bytesMax) break;
    kept.push(character);
  }
  return `${kept.join("")}…`;
}
