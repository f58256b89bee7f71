/**
 * The status of a query.
 * - `connecting`: reaching the service, or waiting for its answer
 * - `catching-up`: the service has answered, and missing data is arriving
 * - `live`: the result is current
 * - `offline`: the connection was lost; the client tries again by itself
 * - `stopped`: ended permanently; `error` has the reason
 */
export const STATUSES = ["connecting", "catching-up", "live", "offline", "stopped"] as const;
/** One of `STATUSES`. */
export type Status = (typeof STATUSES)[number];

/** Everything that can change a status. */
export const STATUS_EVENTS = [
  /** A connection attempt begins. */
  "attempt",
  /** The service has accepted the subscription, and data follows. */
  "subscribed",
  /** All data up to now has arrived. */
  "caught-up",
  /** The documents are void, and are sent again. */
  "reset",
  /** The service could not accept the subscription now. The client asks again on the same connection. */
  "refused",
  /** The connection was lost. */
  "lost",
  /** The query has ended. */
  "stop",
  /** The application wants another attempt. */
  "restart",
] as const;
/** One of `STATUS_EVENTS`. */
export type StatusEvent = (typeof STATUS_EVENTS)[number];

type Row = Readonly<Record<StatusEvent, Status>>;

/**
 * Every status and every event. An event that makes no sense in a status changes nothing, for example one that was
 * overtaken by the end of a connection.
 */
export const TRANSITIONS: Readonly<Record<Status, Row>> = {
  connecting: {
    attempt: "connecting",
    subscribed: "catching-up",
    "caught-up": "connecting",
    reset: "connecting",
    refused: "connecting",
    lost: "offline",
    stop: "stopped",
    restart: "connecting",
  },
  "catching-up": {
    attempt: "catching-up",
    subscribed: "catching-up",
    "caught-up": "live",
    reset: "catching-up",
    refused: "connecting",
    lost: "offline",
    stop: "stopped",
    restart: "catching-up",
  },
  live: {
    attempt: "live",
    subscribed: "catching-up",
    "caught-up": "live",
    reset: "catching-up",
    refused: "connecting",
    lost: "offline",
    stop: "stopped",
    restart: "live",
  },
  offline: {
    attempt: "connecting",
    subscribed: "offline",
    "caught-up": "offline",
    reset: "offline",
    refused: "offline",
    lost: "offline",
    stop: "stopped",
    restart: "connecting",
  },
  stopped: {
    attempt: "stopped",
    subscribed: "stopped",
    "caught-up": "stopped",
    reset: "stopped",
    refused: "stopped",
    lost: "stopped",
    stop: "stopped",
    restart: "connecting",
  },
};
