/**
 * Cluster times order all writes of a deployment. They are kept as `bigint`, because the driver's Timestamp has no
 * arithmetic and a double cannot hold 64 bits.
 */
import { Timestamp } from "mongodb";

/**
 * Cluster times are unsigned 64-bit numbers: seconds in the upper half, a counter in the lower. As `bigint` they
 * compare directly, and adding 1 carries from the counter into the seconds.
 */
export const clusterTimeOf = (seconds: number, increment: number): bigint =>
  (BigInt(seconds >>> 0) << 32n) | BigInt(increment >>> 0);

/** A cluster time as the driver's BSON timestamp. */
export const toTimestamp = (clusterTime: bigint): Timestamp => new Timestamp(clusterTime);

/** The cluster time of a BSON timestamp. */
export const fromTimestamp = (timestamp: Timestamp): bigint => clusterTimeOf(timestamp.t, timestamp.i);

/** The whole seconds of a cluster time, since the Unix epoch. */
export const secondsOf = (clusterTime: bigint): number => Number(clusterTime >> 32n);

/** The time `ms` before `clusterTime`, to the second; never below zero. */
export function earlier(clusterTime: bigint, ms: number): bigint {
  // Rounded up: the result may be earlier than asked for, never later.
  const seconds = secondsOf(clusterTime) - Math.ceil(ms / 1_000);
  return seconds <= 0 ? clusterTimeOf(0, 1) : clusterTimeOf(seconds, 1);
}

/**
 * The cluster time inside a resume token; `null` for a server whose tokens are no KeyString. A KeyString begins with
 * the type byte 0x82 (timestamp), followed by seconds and counter, big-endian.
 */
export function clusterTimeOfToken(token: string): bigint | null {
  if (!/^82[0-9A-Fa-f]{16}/.test(token)) return null;
  return BigInt(`0x${token.slice(2, 18)}`);
}

/** The form for logs and people: `seconds.increment`. */
export const formatClusterTime = (clusterTime: bigint): string =>
  `${secondsOf(clusterTime)}.${clusterTime & 0xffff_ffffn}`;
