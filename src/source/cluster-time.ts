import { Timestamp } from "mongodb";

/**
 * Cluster times are unsigned 64-bit: seconds above, a counter below. As a `bigint` they compare, and
 * "just after" carries from the counter into the seconds by itself.
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
  const seconds = secondsOf(clusterTime) - Math.ceil(ms / 1_000);
  return seconds <= 0 ? clusterTimeOf(0, 1) : clusterTimeOf(seconds, 1);
}

/**
 * The cluster time inside a resume token, `null` for a server whose tokens are no KeyString text. A KeyString
 * begins with the type byte 0x82 (timestamp), then seconds and counter, big-endian.
 */
export function clusterTimeOfToken(token: string): bigint | null {
  if (!/^82[0-9A-Fa-f]{16}/.test(token)) return null;
  return BigInt(`0x${token.slice(2, 18)}`);
}

/** For people and logs: `seconds.increment`. */
export const formatClusterTime = (clusterTime: bigint): string =>
  `${secondsOf(clusterTime)}.${clusterTime & 0xffff_ffffn}`;
