/**
 * The state machine of a delivery. Resets, slow consumers, withdrawn rights and closed connections can happen in any
 * phase, also during a wait, so the table answers every combination.
 */

/**
 * The phase of a delivery.
 * - `opening`: the client does not know the subscription yet, so nothing may be written
 * - `voided`: like `opening`, and the decided start is void
 * - `snapshot`: a snapshot is being sent
 * - `oplog`: missed changes that only the oplog still contains are being sent
 * - `moving`: the difference of a change of rights is being sent
 * - `catching-up`: missed changes from the log of the live query are being sent
 * - `live`: changes are written when they arrive
 * - `closed`: nothing more is written
 */
export const PHASES = [
  "opening",
  "voided",
  "snapshot",
  "oplog",
  "moving",
  "catching-up",
  "live",
  "closed",
] as const;
/** See `PHASES`. */
export type Phase = (typeof PHASES)[number];

/** The events that lead from one phase to another. */
export const DELIVERY_EVENTS = [
  /** A snapshot must be sent: at the start, or after a reset. */
  "send-snapshot",
  /** Commits from the oplog must be sent: at the start, or because the history evicted them before they were sent. */
  "send-oplog",
  /** A difference must be sent: at the start. */
  "send-move",
  /** The rest is in the log: at the start, after any other step, after a reset, or because the consumer was slow. */
  "catch-up",
  /** The log contains nothing more. */
  "caught-up",
  /** The state that the client has, or was to receive, cannot be kept up to date. */
  "void",
  "close",
] as const;
/** See `DELIVERY_EVENTS`. */
export type DeliveryEvent = (typeof DELIVERY_EVENTS)[number];

/**
 * Every phase and every event. An event that makes no sense in a phase changes nothing, because another event has
 * overtaken it. A closed delivery stays closed. A voided start is never continued: a reset leads to a snapshot or to
 * the log.
 */
export const DELIVERY_TRANSITIONS: Readonly<Record<Phase, Readonly<Record<DeliveryEvent, Phase>>>> = {
  opening: {
    "send-snapshot": "snapshot",
    "send-oplog": "oplog",
    "send-move": "moving",
    "catch-up": "catching-up",
    "caught-up": "opening",
    void: "voided",
    close: "closed",
  },
  voided: {
    "send-snapshot": "snapshot",
    "send-oplog": "voided",
    "send-move": "voided",
    "catch-up": "catching-up",
    "caught-up": "voided",
    void: "voided",
    close: "closed",
  },
  snapshot: {
    "send-snapshot": "snapshot",
    "send-oplog": "snapshot",
    "send-move": "snapshot",
    "catch-up": "catching-up",
    "caught-up": "snapshot",
    void: "voided",
    close: "closed",
  },
  oplog: {
    "send-snapshot": "oplog",
    "send-oplog": "oplog",
    "send-move": "oplog",
    "catch-up": "catching-up",
    "caught-up": "oplog",
    void: "voided",
    close: "closed",
  },
  moving: {
    "send-snapshot": "moving",
    "send-oplog": "moving",
    "send-move": "moving",
    "catch-up": "catching-up",
    "caught-up": "moving",
    void: "voided",
    close: "closed",
  },
  "catching-up": {
    "send-snapshot": "catching-up",
    "send-oplog": "oplog",
    "send-move": "catching-up",
    "catch-up": "catching-up",
    "caught-up": "live",
    void: "voided",
    close: "closed",
  },
  live: {
    "send-snapshot": "live",
    "send-oplog": "live",
    "send-move": "live",
    "catch-up": "catching-up",
    "caught-up": "live",
    void: "voided",
    close: "closed",
  },
  closed: {
    "send-snapshot": "closed",
    "send-oplog": "closed",
    "send-move": "closed",
    "catch-up": "closed",
    "caught-up": "closed",
    void: "closed",
    close: "closed",
  },
};

/** Whether a step is running that brings the delivery closer to `live`. */
export const isSending = (phase: Phase): boolean =>
  phase === "snapshot" || phase === "oplog" || phase === "moving" || phase === "catching-up";

/** Whether the client does not know the subscription yet. */
export const isBeforeStart = (phase: Phase): boolean => phase === "opening" || phase === "voided";
