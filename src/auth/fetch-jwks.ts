import { open } from "node:fs/promises";

/** Far more than any key set has; an endless answer must not fill the memory. */
const MAX_BYTES = 256 * 1_024;

/** Redirects, one after the other. */
const MAX_REDIRECTS = 5;

/**
 * Reads a key set as text from an `https:`, loopback `http:` or `file:` URL. Redirects are followed within the configured
 * host: it vouches for the keys, and no other does.
 * @throws {Error} It cannot be had within the time, or is too large.
 */
export async function fetchJwks(uri: string, timeoutMs: number): Promise<string> {
  const url = new URL(uri);
  if (url.protocol === "file:") return readBounded(url);
  // Holds for all redirects and the body, so that a slow answer cannot keep everybody waiting.
  const response = await fetchWithinHost(url, AbortSignal.timeout(timeoutMs));
  if (response.status !== 200 || response.body === null) {
    await response.body?.cancel();
    throw new Error(`the key set's server answered ${response.status}`);
  }
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of response.body) {
    size += part.byteLength;
    // Leaving the loop cancels the body, and with it the connection.
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
