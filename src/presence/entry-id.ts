import { createHash } from "node:crypto";
import type { SubjectDigest } from "../auth/subject.ts";

/** Bytes of the digest. No two entries of a deployment share 128 bits by accident. */
const BYTES = 16;

/**
 * The `_id` of the entry of a user's tab in a room. It is the same on every node, so that a client that reconnects
 * anywhere finds its entry, and reveals neither the tab nor the issuer of the token.
 */
export const entryIdOf = (subject: SubjectDigest, tab: string, room: string): string =>
  createHash("sha256")
    .update(JSON.stringify([subject, tab, room]))
    .digest()
    .subarray(0, BYTES)
    .toString("base64url");
