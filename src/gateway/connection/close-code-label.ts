import { CLOSE_CODES } from "../../protocol/close-codes.ts";

/** Codes of RFC 6455, 7.4.1, with which a client or the loss of the socket may close. */
const STANDARD_CODES = [1000, 1001, 1003, 1005, 1006, 1008, 1010, 1014, 1015];
const KNOWN_CODES: ReadonlySet<number> = new Set([...STANDARD_CODES, ...Object.values(CLOSE_CODES)]);

/**
 * The label of a close code in metrics. A client may choose any code from 3000 to 4999, and each would become a time
 * series.
 */
export const closeCodeLabel = (code: number | null): string =>
  code !== null && KNOWN_CODES.has(code) ? String(code) : "other";
