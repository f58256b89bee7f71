/**
 * The status of a query.
 * - `connecting`: on the way to the service, or waiting for its answer
 * - `catching-up`: the service has answered; what is missing is on its way
 * - `live`: the result is that of now
 * - `offline`: cut off; another attempt comes by itself
 * - `stopped`: ended for good; `error` says why
 */
export const STATUSES = ["connecting", "catching-up", "live", "offline", "stopped"] as const;
/** One of `STATUSES`. */
export type Status = (typeof STATUSES)[number];

/** Everything that can change a status. */
export const STATUS_EVENTS = [
  /** A connection is begun for it. */
  "attempt",
  /** The service has taken the subscription; something follows. */
  "subscribed",
  /** All there was has come. */
  "caught-up",
  /** The documents held are void, and follow again. */
  "reset",
  /** The service could not take the subscription just now; it is asked again on the same connection. */
  "refused",
  /** The connection is gone. */
  "lost",
  /** Nothing more will come. */
  "stop",
  /** The application wants another try. */
  "restart",
] as const;
/** One of `STATUS_EVENTS`. */
export type StatusEvent = (typeof STATUS_EVENTS)[number];

type Row = Readonly<Record<StatusEvent, Status>>;

/**
 * Every status and every event. An event that makes no sense where it comes (one overtaken by the end of a
 * connection, say) changes nothing.
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
