/**
 * Reads a key set over HTTP or from a file. The issuer's server is outside the operator's control, so time, size and
 * redirects are bounded: a faulty one must not exhaust the memory or block logins.
 */
import { open } from "node:fs/promises";

/** Far more than any real key set. The limit stops an endless answer from filling the memory. */
const MAX_BYTES = 256 * 1_024;

/** The most redirects that are followed for one fetch. */
const MAX_REDIRECTS = 5;

/**
 * Reads a key set as text from an `https:`, loopback `http:` or `file:` URL. Redirects are followed within the
 * configured host only, because the operator trusts that host and no other to name the keys.
 * @param timeoutMs For the whole fetch, redirects and body included, in milliseconds.
 * @throws {Error} The key set cannot be fetched within the time, or is too large.
 */
export async function fetchJwks(uri: string, timeoutMs: number): Promise<string> {
  const url = new URL(uri);
  if (url.protocol === "file:") return readBounded(url);
  // The same timeout covers all redirects and the body. Otherwise a server that sends one byte at a time would delay
  // every login.
  const response = await fetchWithinHost(url, AbortSignal.timeout(timeoutMs));
  if (response.status !== 200 || response.body === null) {
    await response.body?.cancel();
    throw new Error(`the key set's server answered ${response.status}`);
  }
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of response.body) {
    size += part.byteLength;
    // Throwing leaves the loop, which cancels the body and closes the connection.
    if (size > MAX_BYTES) throw tooLarge();
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

async function fetchWithinHost(first: URL, signal: AbortSignal): Promise<Response> {
  let url = first;
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
    const headers = { accept: "application/jwk-set+json, application/json" };
    const response = await fetch(url, { redirect: "manual", headers, signal });
    const location = response.headers.get("location");
    if (response.status < 300 || response.status > 399 || location === null) return response;
    await response.body?.cancel();
    const next = new URL(location, url);
    // A redirect must not weaken the transport either: from https it may only lead to https.
    if (next.host !== first.host || (next.protocol !== "https:" && next.protocol !== url.protocol))
      throw new Error(
        `the key set's server redirects to ${next.origin}; only the host of jwksUri is trusted`,
      );
    url = next;
  }
  throw new Error(`the key set's server redirects more than ${MAX_REDIRECTS} times`);
}

async function readBounded(url: URL): Promise<string> {
  const file = await open(url, "r");
  try {
    // One byte more than the limit, so that a file of exactly the limit can be distinguished from a larger one.
    const { bytesRead, buffer } = await file.read(Buffer.alloc(MAX_BYTES + 1), 0, MAX_BYTES + 1, 0);
    if (bytesRead > MAX_BYTES) throw tooLarge();
    return buffer.toString("utf8", 0, bytesRead);
  } finally {
    await file.close();
  }
}

function tooLarge(): Error {
  return new Error(`the key set is larger than ${MAX_BYTES} bytes`);
}
