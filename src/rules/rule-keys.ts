/** Where `%%user` may stand as a key: on the left in a `when`, nowhere else. */
const CLAIM_KEY = /^%%user(?:\.[^.]+)+$/;
const LOGICAL = new Set(["$and", "$or", "$nor"]);

type Entries = Readonly<Record<string, unknown>>;

/** What is wrong with the keys of a rule's filter or `when`, or `undefined`. */
export function wrongKey(input: Entries, part: "filter" | "when"): string | undefined {
  for (const [key, value] of Object.entries(input)) {
    if (LOGICAL.has(key) && Array.isArray(value)) {
      for (const branch of value) {
        const wrong = isEntries(branch) ? wrongKey(branch, part) : undefined;
        if (wrong !== undefined) return wrong;
      }
      continue;
    }
    if (part === "filter" && key.includes("%%")) {
      return `${JSON.stringify(key)}: a key of a filter is a path of the document; claims stand on the right`;
    }
    if (part === "when" && !key.startsWith("$") && !CLAIM_KEY.test(key)) {
      return `${JSON.stringify(key)}: a when sees only claims, no document; write "%%user.claim" as the key`;
    }
    if (hasClaimKey(value))
      return `%%… as a key inside of ${JSON.stringify(key)}; it stands on the outside only`;
  }
  return undefined;
}

/** A key of a `when` as the path in `{ user: <claims> }`. */
export function whenPath(key: string): string {
  return CLAIM_KEY.test(key) ? key.slice(2) : key;
}

function hasClaimKey(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(hasClaimKey);
  if (!isEntries(value)) return false;
  return Object.entries(value).some(([key, item]) => key.includes("%%") || hasClaimKey(item));
}

function isEntries(value: unknown): value is Entries {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
