// How long a successful write stays shown: until the documents of the service show it.
import type { OperationTime } from "../fences.ts";
import type { LiveResult } from "../live-result.ts";
import type { FenceGate } from "./fence-gate.ts";
import type { Overlay, Pending } from "./overlay.ts";

/** One query that shows a change. */
export interface Shown {
  readonly result: LiveResult;
  readonly overlay: Overlay;
  /** Stops to follow the query. */
  readonly leave: () => void;
}

const isSettled = ({ state: { status } }: LiveResult) => status === "live" || status === "stopped";

/**
 * Waits until every query shows everything written up to then.
 * @returns `false` if no fence can tell.
 */
export async function passed(
  gate: FenceGate,
  shown: readonly Shown[],
  operationTime: OperationTime,
): Promise<boolean> {
  try {
    // A fence says what the service has sent. A query that has lost its connection meanwhile may still wait for it.
    do {
      await Promise.all(shown.map(({ result }) => until(result, () => isSettled(result))));
      await gate.pass(operationTime);
    } while (!shown.every(({ result }) => isSettled(result)));
    return true;
  } catch {
    return false; // without a WebSocket, or after a timeout, only the documents can tell
  }
}

/** Waits until the documents of every query show the changes, or the query has stopped; at most for some time. */
export async function appeared(
  shown: readonly Shown[],
  changes: readonly Pending[],
  holdMs: number,
): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const over = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, holdMs);
  });
  const seen = shown.map(({ result, overlay }) =>
    until(
      result,
      () => result.state.status === "stopped" || changes.every((one) => overlay.hasArrived(one)),
      over,
    ),
  );
  await Promise.all(seen);
  clearTimeout(timer);
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
