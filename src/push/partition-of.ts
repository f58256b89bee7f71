import { createHash } from "node:crypto";

/**
 * The parts into which the registrations of all users are divided. Each part is served by one process at a time. The
 * number is fixed, because all nodes must agree on it.
 */
export const PARTITIONS = 8;

/** The partition of a user. */
export const partitionOf = (subject: string): number =>
  createHash("sha256").update(subject).digest().readUInt32BE(0) % PARTITIONS;
