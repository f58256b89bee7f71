/**
 * The request limits that the service enforces and a client keeps by itself (docs/protocol.md, section 6). Both sides
 * import them from here, because a client that counts in another way sends requests that the service refuses.
 */

/** Default of `limits.requestsPerSecond`. */
export const REQUESTS_PER_SECOND = 50;
/** Default of `limits.requestBurst`. */
export const REQUEST_BURST = 100;
/** Default of `limits.earlyMessages`: how many messages may follow `hello` before the service has answered it. */
export const EARLY_MESSAGES = 32;
/** Default of `limits.messageBytes`: the size of the largest message of a client. */
export const MESSAGE_BYTES = 65_536;
/** The early messages of a connection together take at most this many times `limits.messageBytes`. */
export const EARLY_LARGEST_MESSAGES = 4;

/** This many bytes of a message cost as much as one small request. */
const COST_BYTES = 1_024;

/** The cost of a request of this size, in small requests: a large one is work to check and memory to keep. */
export const requestCost = (bytes: number) => 1 + Math.floor(bytes / COST_BYTES);

/** The size of a JSON text in UTF-8. */
export const utf8Bytes = (json: string) => encodeURIComponent(json).replace(/%../g, ".").length;
