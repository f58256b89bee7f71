import { CLOSE_CODES } from "../../protocol/close-codes.ts";

/** RFC 6455, 7.4.1: what a client, or the loss of the socket, may close with. */
const STANDARD_CODES = [1000, 1001, 1003, 1005, 1006, 1008, 1010, 1014, 1015];
const KNOWN_CODES: ReadonlySet<number> = new Set([...STANDARD_CODES, ...Object.values(CLOSE_CODES)]);

/** The code as the label of a metric. A client may choose any from 3000 to 4999, each of which would be a series. */
export const closeCodeLabel = (code: number | null): string =>
  code !== null && KNOWN_CODES.has(code) ? String(code) : "other";
