import type { Path } from "./config-text.ts";

/** Parts of docs/rules.md that this release does not have yet, by their place in the file. */
const NOT_YET: readonly { readonly place: RegExp; readonly value?: unknown; readonly text: string }[] = [
  {
    place: /^collections\/[^/]*\/lookups$/,
    text: "lookups are not supported yet. Remove this part and the rules that use it",
  },
];

/**
 * Why a part of the file cannot be taken yet, or `undefined`. What is silently ignored is believed to work, so it is
 * refused by name.
 */
export function notYet(path: Path, value: unknown): string | undefined {
  const place = path.map((part) => String(part).replaceAll("/", "~")).join("/");
  return NOT_YET.find((part) => part.place.test(place) && (part.value === undefined || part.value === value))
    ?.text;
}
