/**
 * The messages with which `fetch` rejects, or the body of its answer, if no answer has arrived. The standard asks only for a
 * `TypeError`, which is also the error of most mistakes in a program.
 */
const MESSAGES: readonly RegExp[] = [
  /^Failed to fetch\b/, // Chrome
  /^network error$/, // Chrome, while it reads the body
  /^NetworkError when attempting to fetch resource\.$/, // Firefox
  /^Error in input stream$/, // Firefox, while it reads the body
  /^Load failed\b/, // Safari
  /^The network connection was lost\.$/, // Safari
  /^The Internet connection appears to be offline\.$/, // Safari
  /^Network request failed$/, // React Native
  /^fetch failed$/, // Node
  /^terminated$/, // Node, while it reads the body
  /^error sending request\b/, // Deno
];

/** Whether an error is that of a request that has received no answer. The error may be that of another window. */
export function isNetworkFailure(error: unknown): boolean {
  const { name, message } = (error ?? {}) as { name?: unknown; message?: unknown };
  return name === "TypeError" && MESSAGES.some((known) => known.test(String(message)));
}
