import type { OperationTime } from "./fences.ts";
import type { LiveResult } from "./live-result.ts";
import type { ConnectionState } from "./session-options.ts";
import type { Trace } from "./trace.ts";

/** The parts of a client that developer tools show. */
export interface Inspected {
  readonly client: { readonly state: ConnectionState };
  readonly results: ReadonlyMap<string, LiveResult>;
}

/** Receives what a client does. `createDevtools` of `tidewire/devtools` makes one. */
export interface Inspector extends Trace {
  /** A client reports to it from now on. */
  attach(client: Inspected): void;
  /** The documents, the cursor or the ticket of a result have changed. */
  moved(result: LiveResult): void;
  /** A fence was requested. */
  fence(operationTime: OperationTime, settled: Promise<void>): void;
}
