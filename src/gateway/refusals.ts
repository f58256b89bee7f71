/**
 * Reports refused connections. An operator must see that clients are refused and why, while an attacker must not be
 * able to fill the log with refusals.
 */
import type { Logger } from "pino";
import type { Metrics } from "../metrics/metrics.ts";

/** Refusals of one reason are logged at most this often, in milliseconds. */
const INTERVAL_MS = 60_000;
/** A client chooses its `Origin`, so the log contains at most this many characters of it. */
const ORIGIN_CHARACTERS = 200;

/** Texts for the log, by the label of the metric. The reasons of tokens begin with `token-`. */
const TEXTS: Readonly<Record<string, string>> = {
  path: "refused a WebSocket: there is none at this path",
  host: "refused a request: server.hosts does not list the name by which it was sent",
  origin: "refused a page: server.origins does not list its origin",
  subprotocol: "refused a WebSocket: the client offers no supported subprotocol",
  query: "refused a WebSocket of Socket.IO: its URL has a parameter twice, or a #",
  "connect-rate":
    "refused a connection: too many new ones (limits.connectRate, limits.connectRatePerAddress)",
  "user-limit": "refused a connection: its user has too many (limits.connectionsPerUser)",
  "node-full": "refused a connection: the node is full (limits.connections)",
  "address-limit": "refused a connection: its address has too many (limits.connectionsPerAddress)",
  key: "refused the key of a stream",
};

/** The origin of a refused request. Never contains a token. */
export interface Refused {
  readonly address?: string;
  readonly origin?: string | undefined;
}

interface Recent {
  loggedAtMs: number;
  /** Refusals since the last log line, and the latest of them. */
  count: number;
  last: Refused;
}

/**
 * Counts refused connections and logs them: the first one of a reason at once, the following ones as one line per
 * minute with their number. Reasons are a fixed set, so that clients cannot fill the log or the memory.
 */
export class Refusals {
  readonly #log: Logger;
  readonly #metrics: Pick<Metrics, "connectionsRefused">;
  readonly #recent = new Map<string, Recent>();

  constructor(log: Logger, metrics: Pick<Metrics, "connectionsRefused">) {
    this.#log = log;
    this.#metrics = metrics;
  }

  /**
   * Counts and logs a refused connection.
   * @param reason The label of the metric, one of a fixed set.
   */
  note(reason: string, from: Refused, nowMs = Date.now()): void {
    this.#metrics.connectionsRefused.inc({ reason });
    this.log(reason, from, nowMs);
  }

  /** Logs a refusal that leaves the connection open. */
  log(reason: string, from: Refused, nowMs = Date.now()): void {
    const recent = this.#recent.get(reason);
    if (recent === undefined) {
      this.#recent.set(reason, { loggedAtMs: nowMs, count: 0, last: from });
      this.#write(reason, 1, from);
      return;
    }
    recent.count++;
    recent.last = from;
  }

  /** Logs the numbers whose minute is over. Called every second. */
  flush(nowMs: number): void {
    for (const [reason, recent] of this.#recent) {
      if (nowMs - recent.loggedAtMs < INTERVAL_MS) continue;
      if (recent.count === 0) {
        this.#recent.delete(reason);
        continue;
      }
      this.#write(reason, recent.count, recent.last);
      recent.loggedAtMs = nowMs;
      recent.count = 0;
    }
  }

  #write(reason: string, count: number, { address, origin }: Refused): void {
    const fields = {
      reason,
      count,
      ...(address === undefined ? {} : { address }),
      ...(origin === undefined ? {} : { origin: origin.slice(0, ORIGIN_CHARACTERS) }),
    };
    const text = TEXTS[reason] ?? `refused a token: ${reason.replace(/^token-/, "")}`;
    // Tokens expire in normal operation, and their clients return with new ones.
    if (reason === "token-expired") this.#log.info(fields, text);
    else this.#log.warn(fields, text);
  }
}
