// How long a successful write stays shown: until the documents of the service show it.
import type { OperationTime } from "../fences.ts";
import type { LiveResult } from "../live-result.ts";
import type { Connected } from "../query.ts";
import type { FenceGate } from "./fence-gate.ts";
import type { Overlay, Pending } from "./overlay.ts";

/** One query that shows a change. */
export interface Shown {
  readonly result: LiveResult;
  readonly overlay: Overlay;
  /** The client of the query. */
  readonly client: Connected;
  /** The fences of this client. They say nothing about the queries of another one. */
  readonly gate: FenceGate;
  /** Stops to follow the query. */
  readonly leave: () => void;
}

/**
 * Waits until every query shows everything written up to then. A query that the service keeps refusing is left out.
 * @param holdMs How long a refused query is waited for.
 * @returns `false` if no fence can tell.
 */
export async function passed(
  shown: readonly Shown[],
  operationTime: OperationTime,
  holdMs: number,
): Promise<boolean> {
  const gates = new Set(shown.map(({ gate }) => gate));
  let waiting = shown;
  try {
    // A fence says what the service has sent. A query that has lost its connection meanwhile may still wait for it.
    do {
      const settled = await Promise.all(waiting.map((one) => untilSettled(one, holdMs)));
      waiting = waiting.filter((_one, at) => settled[at]);
      await Promise.all(Array.from(gates, (gate) => gate.pass(operationTime)));
    } while (!waiting.every(isSettled));
    return true;
  } catch {
    return false; // without a WebSocket, or after a timeout, only the documents can tell
  }
}

const isSettled = ({ result: { state } }: Shown) => state.status === "live" || state.status === "stopped";

/** The client is connected, and the service has refused the query for now: the client asks again, perhaps for ever. */
const isRefused = ({ result: { state }, client }: Shown) =>
  state.status === "connecting" && state.error !== undefined && client.state.status === "connected";

/** @returns `false` if the service has refused the query for `holdMs`. */
async function untilSettled(one: Shown, holdMs: number): Promise<boolean> {
  while (!isSettled(one)) {
    await until(one.result, () => isSettled(one) || isRefused(one));
    // A connection that is lost meanwhile ends this wait, because the service may accept the query on the next one.
    const hasChanged = () => isSettled(one) || !isRefused(one);
    if (!(await within(holdMs, (over) => until(one.result, hasChanged, over), hasChanged))) return false;
  }
  return true;
}

/** Waits until the documents of every query show the changes, or the query has stopped; at most for some time. */
export async function appeared(
  shown: readonly Shown[],
  changes: readonly Pending[],
  holdMs: number,
): Promise<void> {
  const hasAppeared = ({ result, overlay }: Shown) =>
    result.state.status === "stopped" || changes.every((one) => overlay.hasArrived(one));
  const wait = (over: Promise<void>) =>
    Promise.all(shown.map((one) => until(one.result, () => hasAppeared(one), over)));
  await within(holdMs, wait, () => shown.every(hasAppeared));
}

/**
 * Limits a wait.
 * @param wait Ends early when its argument settles.
 * @returns What `holds` says at the end.
 */
async function within(
  holdMs: number,
  wait: (over: Promise<void>) => Promise<unknown>,
  holds: () => boolean,
): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const over = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, holdMs);
  });
  await wait(over);
  clearTimeout(timer);
  return holds();
}

/** Waits until the condition holds, which can change with the state of the result; or until `over` settles. */
async function until(result: LiveResult, holds: () => boolean, over?: Promise<void>): Promise<void> {
  if (holds()) return;
  let leave: (() => void) | undefined;
  const held = new Promise<void>((resolve) => {
    leave = result.listen({ state: () => holds() && resolve() });
  });
  await (over === undefined ? held : Promise.race([held, over]));
  leave?.();
}
