/** The documents of sinks in the state database. */
import type { Long } from "mongodb";
import { fromStored, type StoredMessage, toStored } from "./stored-message.ts";
import type { SinkMessage } from "./target.ts";

/** A point from which a sink resumes: a cursor, and the ticket that makes it valid. */
export interface SinkPosition {
  readonly cursor: string;
  readonly ticket: string;
}

/** A message that waits in the spool. */
export interface SpooledMessage {
  /** Its place in the order of arrival. */
  readonly seq: number;
  /** `null` for the main queue, or the key whose messages wait for a retry. */
  readonly lane: string | null;
  readonly message: SinkMessage;
  readonly atMs: number;
  readonly attempts: number;
  /** When the next attempt is due; `null` unless it is the first message of a lane. */
  readonly dueAtMs: number | null;
  readonly reason: string | null;
}

/** A message that was given up. */
export interface ParkedMessage {
  readonly message: SinkMessage;
  readonly reason: string;
  /** The beginning of the target's answer, which may quote the message; empty without one. */
  readonly excerpt: string;
  readonly attempts: number;
  readonly atMs: number;
  readonly parkedAtMs: number;
  /** How often the rights of the sink had changed before. */
  readonly rights: number;
}

/** Why a sink began again, or ended. */
export interface SinkNote {
  readonly at: Date;
  readonly reason: string;
}

/** The state of one sink. Only its holder writes it, except for `isPaused` and `disabled`. */
export interface SinkState {
  readonly position: SinkPosition | null;
  /** The ids of messages after the position that the target has, or the spool. */
  readonly ahead: readonly string[];
  readonly lastSeq: number;
  readonly spooledMessages: number;
  readonly spooledBytes: number;
  readonly delivered: number;
  readonly failed: number;
  readonly parked: number;
  readonly resets: number;
  readonly lastReset: SinkNote | null;
  /** Why nothing is sent at the moment; `null` if nothing is wrong. */
  readonly trouble: string | null;
  /** When the oldest message that was not delivered arrived. */
  readonly oldestAt: Date | null;
  /** The spool is being emptied, because it was too large. */
  readonly isEmptying: boolean;
  /** The last message before the sink began from nothing. */
  readonly freshSeq: number;
  /** Grows with each save, so that a delayed one cannot undo a newer one. */
  readonly saves: number;
  /** How often the rights of the sink have changed. A message that was parked before may say what they forbid now. */
  readonly rights: number;
}

/** One run of a holder. A write of an earlier holder, or of an earlier run of the same holder, has no effect. */
export interface SinkTurn {
  /** The fencing number of the lease. */
  readonly fence: bigint;
  /** Grows with each run. */
  readonly run: number;
}

/** The decisions of admins and of the target about a sink. */
export interface SinkControl {
  readonly isPaused: boolean;
  /** Set when the target wants no more messages. */
  readonly disabled: SinkNote | null;
}

/** The document of one sink. */
export interface SinkDocument extends SinkState, SinkControl {
  _id: string;
  fence: Long;
  run: number;
  /** The name of the node. */
  node: string;
  at: Date;
}

interface Place {
  sink: string;
  seq: number;
}

/** A message in the spool. */
export interface SpoolDocument extends StoredMessage {
  _id: Place;
  sink: string;
  lane: string | null;
  seq: number;
  at: Date;
  attempts: number;
  dueAt: Date | null;
  reason: string | null;
}

/** A parked message. */
export interface ParkedDocument extends StoredMessage {
  _id: { sink: string; id: string };
  sink: string;
  at: Date;
  parkedAt: Date;
  attempts: number;
  reason: string;
  excerpt: string;
  rights: number;
  /** Whether an admin wants it to be sent again. */
  replay: boolean;
}

/** The state of a sink that has never begun. */
export const NEW_STATE: SinkState = {
  position: null,
  ahead: [],
  lastSeq: 0,
  spooledMessages: 0,
  spooledBytes: 0,
  delivered: 0,
  failed: 0,
  parked: 0,
  resets: 0,
  lastReset: null,
  trouble: null,
  oldestAt: null,
  isEmptying: false,
  freshSeq: 0,
  saves: 0,
  rights: 0,
};

/** Whether a snapshot has begun that its holder has not completed. */
export const isInterrupted = ({ position, lastSeq, freshSeq }: SinkState): boolean =>
  position === null && lastSeq > freshSeq;

/** No decision has been made about the sink. */
export const NEW_CONTROL: SinkControl = { isPaused: false, disabled: null };

/** Makes the document of a spooled message. */
export const toSpoolDocument = (
  sink: string,
  { seq, lane, message, atMs, attempts, dueAtMs, reason }: SpooledMessage,
): SpoolDocument => ({
  _id: { sink, seq },
  sink,
  lane,
  seq,
  at: new Date(atMs),
  attempts,
  dueAt: dueAtMs === null ? null : new Date(dueAtMs),
  reason,
  ...toStored(message),
});

/** Reads the document of a spooled message. */
export const toSpooledMessage = (found: SpoolDocument): SpooledMessage => ({
  seq: Number(found.seq),
  lane: found.lane,
  message: fromStored(found),
  atMs: found.at.getTime(),
  attempts: found.attempts,
  dueAtMs: found.dueAt?.getTime() ?? null,
  reason: found.reason,
});

/** Makes the document of a parked message. */
export const toParkedDocument = (
  sink: string,
  { message, reason, excerpt, attempts, atMs, parkedAtMs, rights }: ParkedMessage,
): ParkedDocument => ({
  _id: { sink, id: message.id },
  sink,
  at: new Date(atMs),
  parkedAt: new Date(parkedAtMs),
  attempts,
  reason,
  excerpt,
  rights,
  replay: false,
  ...toStored(message),
});

/** Reads the document of a parked message. */
export const toParkedMessage = (found: ParkedDocument): ParkedMessage => ({
  message: fromStored(found),
  reason: found.reason,
  excerpt: found.excerpt,
  attempts: found.attempts,
  atMs: found.at.getTime(),
  parkedAtMs: found.parkedAt.getTime(),
  rights: found.rights ?? 0,
});
