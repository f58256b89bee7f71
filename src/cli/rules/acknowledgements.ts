import { setTimeout as sleep } from "node:timers/promises";
import type { LiveNode, NodeRulesStore } from "../../source/node-rules-store.ts";
import type { Io } from "../../terminal/io.ts";
import { withProgress } from "../progress.ts";

/** A look at a few small documents. A change stream of this command would need rights of its own. In milliseconds. */
const LOOK_MS = 200;

const hasApplied = ({ generation }: LiveNode, set: number) => generation >= set;

/**
 * Waits until every running node has put a set in force, and prints each.
 * @returns Whether all of them have.
 */
export async function awaitNodes(
  set: number,
  nodes: Pick<NodeRulesStore, "live">,
  io: Pick<Io, "out" | "err">,
  waitMs: number,
): Promise<boolean> {
  if (waitMs === 0) return true;
  const startedMs = performance.now();
  const printed = new Set<string>();
  const follow = async (): Promise<LiveNode[]> => {
    for (;;) {
      const live = await nodes.live();
      for (const node of live.filter((each) => hasApplied(each, set) && !printed.has(each.name))) {
        printed.add(node.name);
        io.out(`  ${node.name}: in force after ${Math.round(performance.now() - startedMs)} ms`);
      }
      const open = live.filter((node) => !hasApplied(node, set));
      const isDone = open.every(({ behind }) => behind?.set === set);
      if (isDone || performance.now() - startedMs >= waitMs) {
        if (live.length === 0) io.out("  no node with rules.from: database runs; each starts with this set");
        return open;
      }
      await sleep(LOOK_MS);
    }
  };
  const open = await withProgress(io, `waiting for the nodes to apply rule set ${set}`, follow());
  for (const { name, generation, version, behind } of open) {
    const why =
      behind?.set === set
        ? `cannot apply it (version ${version}): ${behind.problem}`
        : `has not applied it within ${waitMs / 1_000} s`;
    io.err(`  ${name}: keeps rule set ${generation}, and ${why}`);
  }
  return open.length === 0;
}
