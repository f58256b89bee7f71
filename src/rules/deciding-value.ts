import { BSON_TYPE, valueEnd } from "../match/bson-value.ts";
import { encodeValue } from "../match/encode.ts";
import { compilePath } from "../match/path-walk.ts";

/** A path into an array may find many values. The first ones are enough for a reader. */
const VALUES_MAX = 5;
/** Characters of each value. */
const TEXT_MAX = 200;

/** The values that a condition on a path reads in a document, as Extended JSON; `missing` if there is none. */
export function valueText(path: string, document: Uint8Array): string {
  const values: string[] = [];
  compilePath(path, false)(document, 0, (type, bytes, start) => {
    values.push(
      type === BSON_TYPE.missing
        ? "missing"
        : cut(encodeValue({ type, bytes, start, end: valueEnd(type, bytes, start) }, "ejson")),
    );
    return values.length >= VALUES_MAX;
  });
  return values.length === 0 ? "missing" : values.join(", ");
}

const cut = (text: string) => (text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}…` : text);
