import type { ValueMode } from "../protocol/messages.ts";

/** Forms of text in the value mode `"json"`, and the values in the database that it may be. */
const FORMS: readonly (readonly [RegExp, (text: string) => unknown])[] = [
  [/^[\da-f]{24}$/, ($oid) => ({ $oid })],
  [/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, ($date) => ({ $date })],
  [/^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/, ($uuid) => ({ $uuid })],
  [/^-?\d+(?:\.\d+)?(?:E[+-]?\d+)?$/, ($numberDecimal) => ({ $numberDecimal })],
];

/** The values in the database, in Extended JSON, that a value of a received document may be. */
export function operandsOf(value: unknown, mode: ValueMode): readonly unknown[] {
  if (typeof value !== "string" || mode === "ejson") return [value];
  return [value, ...FORMS.filter(([form]) => form.test(value)).map(([, toValue]) => toValue(value))];
}
