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

/**
 * The next status, by event and status. An event that is not listed for a status changes nothing: it makes no sense there, for
 * example because the end of a connection has overtaken it.
 */
const CHANGES: Readonly<Record<StatusEvent, Partial<Record<Status, Status>>>> = {
  attempt: { offline: "connecting" },
  subscribed: { connecting: "catching-up", live: "catching-up" },
  "caught-up": { "catching-up": "live" },
  reset: { live: "catching-up" },
  refused: { "catching-up": "connecting", live: "connecting" },
  lost: { connecting: "offline", "catching-up": "offline", live: "offline" },
  stop: { connecting: "stopped", "catching-up": "stopped", live: "stopped", offline: "stopped" },
  restart: { offline: "connecting", stopped: "connecting" },
};

/** The status of a query after an event. */
export const nextStatus = (status: Status, event: StatusEvent): Status => CHANGES[event][status] ?? status;
