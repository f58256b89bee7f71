/**
 * The client of a Tidewire service, for browsers and Node, with all its parts. Applications import this file only, or
 * `core.ts` and the parts that they need; everything that these export is public API.
 */
import { Client as CoreClient, type CoreOptions, type Untyped } from "./core.ts";
import type { Initial } from "./initial.ts";
import { changes } from "./parts/changes.ts";
import { extended } from "./parts/extended.ts";
import { fallback } from "./parts/fallback.ts";
import { fences } from "./parts/fences.ts";
import { growth } from "./parts/growth.ts";
import { initial } from "./parts/initial.ts";
import { persistence } from "./parts/persistence.ts";
import { warnings } from "./parts/warnings.ts";
import type { PersistOptions } from "./persistence.ts";
import type { Trace } from "./trace.ts";
import type { TransportKind } from "./transport.ts";
import type { Logger } from "./warnings.ts";

export * from "./core.ts";
export type { Initial } from "./initial.ts";
export type { PersistOptions, Saved, Store } from "./persistence.ts";
export { type ClearableStore, indexedDbStore, memoryStore } from "./stores.ts";
export type { TransportKind } from "./transport.ts";
export type { Logger } from "./warnings.ts";

/** How a client reaches its service, and the options of its parts. */
export interface ClientOptions extends Omit<CoreOptions, "parts"> {
  /** Keeps results, so that a reloaded page continues from them. */
  readonly persist?: PersistOptions;
  /** Results that a server has read for this page (`prefetch`). The client shows them at once, and resumes from them. */
  readonly initial?: Initial;
  /** The permitted transports, best first. Default: WebSocket, SSE and long polling. */
  readonly transports?: readonly TransportKind[];
  readonly fetch?: typeof fetch;
  /**
   * After this time on another transport than the first one, the client tries the first one again, in milliseconds.
   * Default: 300000.
   */
  readonly upgradeAfterMs?: number;
  /**
   * Receives problems for which no `error` observer exists, once per kind. Default: `console`. `false`: nothing is
   * reported.
   */
  readonly logger?: Logger | false | undefined;
}

/**
 * Makes a client. It connects when a query is followed, not before.
 * @throws {TypeError} An option is missing or malformed.
 */
export function createClient<S extends object = Untyped>(options: ClientOptions): Client<S> {
  return new Client(options);
}

/** A client with all parts. */
export class Client<S extends object = Untyped> extends CoreClient<S> {
  /** @internal */
  constructor(options: ClientOptions, trace?: Trace) {
    // An application in JavaScript may pass nothing, which the core reports.
    const { persist, initial: results, transports, fetch, upgradeAfterMs, logger, ...own } = { ...options };
    const parts = [
      changes,
      extended,
      fallback({ transports, fetch, upgradeAfterMs }),
      fences,
      growth,
      warnings(logger),
    ];
    if (persist !== undefined) parts.push(persistence(persist));
    if (results !== undefined) parts.push(initial(results));
    super({ ...own, parts }, trace);
  }
}
