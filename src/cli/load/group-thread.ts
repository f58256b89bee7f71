/** The program of the threads of `tidewire load`: each runs one group of virtual users. */
import { parentPort, workerData } from "node:worker_threads";
import type { Interval, ThreadFigures } from "./tally.ts";
import { type GroupPlan, UserGroup } from "./user-group.ts";

/** A command for a thread. */
export type GroupCommand =
  | { readonly type: "measure"; readonly fromMs: number; readonly toMs: number }
  | { readonly type: "finish"; readonly finals: readonly number[]; readonly withinMs: number }
  /** Shortens the wait of `finish`. */
  | { readonly type: "hurry"; readonly withinMs: number };

/** A report of a thread. */
export type GroupReport =
  | { readonly type: "interval"; readonly interval: Interval }
  | { readonly type: "ramped" }
  | { readonly type: "finished"; readonly figures: ThreadFigures };

const report = (message: GroupReport) => parentPort?.postMessage(message);

const group = new UserGroup(workerData as GroupPlan); // as `threads.ts` gives it

parentPort?.on("message", (command: GroupCommand) => {
  if (command.type === "measure") group.measure(command.fromMs, command.toMs);
  else if (command.type === "hurry") group.hurry(command.withinMs);
  else {
    void group.finish(command.finals, command.withinMs).then((figures) => {
      report({ type: "finished", figures });
    });
  }
});

group.start({
  interval: (interval) => report({ type: "interval", interval }),
  ramped: () => report({ type: "ramped" }),
});
