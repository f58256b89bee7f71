/**
 * Origins in the form of `server.origins` and of browsers (RFC 6454, section 7): `scheme://host[:port]`. Apps in a
 * native shell have their own schemes, such as `capacitor://localhost`.
 */

const SCHEME = "[a-z][a-z0-9+.-]*";
const HOST = String.raw`(?:[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\])`;
const APP_ORIGIN = new RegExp(`^${SCHEME}://${HOST}(?::[0-9]{1,5})?$`);
/** A `*` as the first label, followed by at least two other labels. */
const WILDCARD = /^(https?:\/\/)\*(\.[a-z0-9-]+(?:\.[a-z0-9-]+)+(?::[0-9]{1,5})?)$/;
const LABEL = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/;

/** Why an entry of `server.origins` would never match; `undefined` for a valid one. */
export function originProblem(text: string): string | undefined {
  if (text === "*") return undefined;
  const [, scheme, rest] = WILDCARD.exec(text) ?? [];
  const sample = scheme === undefined || rest === undefined ? text : `${scheme}x${rest}`;
  if (sample.includes("*") || (sample !== text && !isCanonical(sample)))
    return 'one * for the whole first label of a name, such as "https://*.preview.example.com"; "*" alone allows every page';
  if (isCanonical(text) || sample !== text) return undefined;
  const advice = corrected(text);
  return `an origin as browsers send it (scheme://host[:port]), or "*"${advice === undefined ? "" : `. Write ${advice}`}`;
}

function isCanonical(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { origin, protocol } = new URL(text);
  // The URL standard gives an origin only to the schemes of the web.
  if (origin !== "null") return origin === text;
  return APP_ORIGIN.test(text) && protocol !== "file:" && protocol !== "data:";
}

/** The origin that was probably meant, if a complete URL or a URL without its scheme was written. */
function corrected(text: string): string | undefined {
  for (const candidate of [text, `https://${text}`]) {
    if (!URL.canParse(candidate)) continue;
    const { origin } = new URL(candidate);
    if (origin !== "null" && origin !== text) return origin;
  }
  return undefined;
}

/** Whether a page of this origin is listed. */
export function isListed(origin: string, entries: readonly string[]): boolean {
  return entries.some(
    (entry) => entry === "*" || (entry === origin && !entry.includes("*")) || matchesWildcard(entry, origin),
  );
}

function matchesWildcard(entry: string, origin: string): boolean {
  const [, scheme, rest] = WILDCARD.exec(entry) ?? [];
  if (scheme === undefined || rest === undefined) return false;
  if (!origin.startsWith(scheme) || !origin.endsWith(rest)) return false;
  return LABEL.test(origin.slice(scheme.length, origin.length - rest.length));
}
