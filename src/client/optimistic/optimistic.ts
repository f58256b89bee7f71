/**
 * Writes that are shown at once. Tidewire has no writes: they go through the application's backend. This entry shows
 * their effect until the service has sent it.
 */
import type { TidewireError } from "../../protocol/errors.ts";
import type { OperationTime } from "../fences.ts";
import { type AnyQuery, hostOf, requestOf } from "../internals.ts";
import type { LiveResult } from "../live-result.ts";
import type { Query, QueryHost } from "../query.ts";
import { type OptimisticChange, toStep } from "./change.ts";
import { FenceGate } from "./fence-gate.ts";
import { Overlay, Pending } from "./overlay.ts";
import { appeared, passed, type Shown } from "./settle.ts";
import { WriteQueue } from "./write-queue.ts";

export { objectId } from "./object-id.ts";
export type { OptimisticChange };

/** How a write is made and settled. */
export interface OptimisticOptions {
  /**
   * `true`: the write waits until the client is connected, behind earlier ones, and is repeated after a failure of the
   * network, 20 times at most. The write must be a function, and the backend must accept the same write twice. Default:
   * `false`, it is made at once.
   */
  readonly queue?: boolean;
  /**
   * How long a successful write stays shown if no fence can tell when the service has sent it, in milliseconds: without
   * an `operationTime`, or without a WebSocket. It ends earlier once the result shows the change. Also how long the
   * other queries wait for one that the service keeps refusing. Default: 10000.
   */
  readonly holdMs?: number;
}

const HOLD_MS = 10_000;

const overlays = new WeakMap<LiveResult, Overlay>();
const gates = new WeakMap<QueryHost, FenceGate>();
const queues = new WeakMap<QueryHost, WriteQueue>();

function of<K extends object, V>(map: WeakMap<K, V>, key: K, make: () => V): V {
  const known = map.get(key) ?? make();
  map.set(key, known);
  return known;
}

/**
 * Shows a change in a query at once, and makes the write. The change stays shown until the service has sent the write. If
 * the write fails, it is shown no more.
 * @param query The query, or all queries that the change may concern.
 * @param write The write, or a function that makes it. Its result has the `operationTime` of the write, which the
 *   driver gives to the backend.
 * @returns What the write returns, once all queries show it.
 * @throws The error of the write; `TypeError` for a change or a queued write of another form.
 */
export async function optimistic<T extends object, R extends object, W>(
  query: Query<T, R> | readonly Query<T, R>[],
  change: OptimisticChange<R> | readonly OptimisticChange<R>[],
  write: Promise<W> | (() => Promise<W>),
  { queue = false, holdMs = HOLD_MS }: OptimisticOptions = {},
): Promise<W> {
  if (queue && typeof write !== "function")
    throw new TypeError(
      "a queued write is a function that makes it, because it may be made later, and repeated",
    );
  const changes = [change].flat().map((one) => new Pending(toStep(one as object)));
  const queries = [query].flat();
  const [first] = queries;
  if (first === undefined) throw new TypeError("an optimistic change needs a query");
  const host = hostOf(first);
  const shown = queries.map((one) => open(hostOf(one), one));
  // The first report makes the documents known, from which a change of one query may be shown in another one.
  for (const { result, overlay } of shown) result.lay(overlay.show);
  for (const { overlay } of shown) for (const pending of changes) overlay.add(pending);
  for (const { result, overlay } of shown) result.lay(overlay.show);
  try {
    const make = typeof write === "function" ? write : () => write;
    const written = await (queue ? of(queues, host, () => new WriteQueue(host.client)).add(make) : make());
    const { operationTime } = (written ?? {}) as { operationTime?: OperationTime };
    const isFenced = operationTime !== undefined && (await passed(shown, operationTime, holdMs));
    if (!isFenced) await appeared(shown, changes, holdMs);
    return written;
  } finally {
    for (const { overlay } of shown) for (const pending of changes) overlay.remove(pending);
    // Each result is reported with its last documents in the same turn, so no page draws a state between two of them.
    for (const one of shown) layWhatIsLeft(one);
    for (const { leave } of shown) leave();
  }
}

/** Follows the query as long as the change is shown. */
function open(host: QueryHost, query: AnyQuery): Shown {
  const request = requestOf(query);
  const result = host.acquire(query.key, request);
  const overlay = of(overlays, result, () => new Overlay(request));
  const stopped = (error?: TidewireError) => {
    if (error?.code !== "forbidden") return;
    overlay.clear();
    layWhatIsLeft({ result, overlay });
  };
  const { client } = host;
  const gate = of(gates, host, () => new FenceGate(client));
  return { result, overlay, client, gate, leave: result.listen({ stopped }) };
}

const layWhatIsLeft = ({ result, overlay }: Pick<Shown, "result" | "overlay">) =>
  result.lay(overlay.isEmpty ? undefined : overlay.show);
