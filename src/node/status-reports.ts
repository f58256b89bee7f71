import { setTimeout as sleep } from "node:timers/promises";
import { guarded } from "../metrics/guard.ts";
import { isMongoFailure } from "../source/mongo.ts";
import { type NodeStatus, NodeStatusStore, STATUS_REPORT_MS } from "../source/node-status-store.ts";
import type { Basics } from "./basics.ts";
import type { SharedState } from "./shared-state.ts";

/** How long a node that stops waits until its document is removed, in milliseconds. */
const REMOVE_WITHIN_MS = 1_000;

/** How often a node checks whether its status has changed, in milliseconds. */
const CHECK_MS = 1_000;

/** The status of a node, and a part of it that is cheap to compute: a change of it is reported at once. */
interface Reported {
  readonly status: () => Promise<NodeStatus>;
  readonly mark: () => string;
}

/** Reports the status of this node in the state database, now and until it stops. */
export function reportStatus(
  basics: Basics,
  { database, answer }: SharedState,
  { status, mark }: Reported,
): NodeStatusStore {
  const { node, log, onStop } = basics;
  const store = new NodeStatusStore(database);
  let reporting: Promise<void> | undefined;
  let last = { mark: "", atMs: 0 };
  const attempt = async () => {
    try {
      last = { mark: mark(), atMs: Date.now() };
      const now = await status();
      await answer(() => store.report(now));
    } catch (error) {
      if (!isMongoFailure(error)) throw error;
      log.debug({ err: error }, "the node could not report its status; the next report repeats it");
    }
  };
  const check = guarded(basics, "node.status", () => {
    if (last.mark === mark() && Date.now() - last.atMs < STATUS_REPORT_MS) return undefined;
    reporting ??= attempt().finally(() => {
      reporting = undefined;
    });
    return reporting;
  });
  check();
  const timer = setInterval(check, CHECK_MS).unref();
  onStop(async () => {
    clearInterval(timer);
    const removed = answer(() => store.remove(node)).catch(() => {}); // it counts as gone soon anyway
    // Without MongoDB, the node must not stop later because of this.
    await Promise.race([removed, sleep(REMOVE_WITHIN_MS, undefined, { ref: false })]);
  });
  return store;
}
