import type { Commit } from "./change-event.ts";
import type { CommitBatch } from "./read-commits.ts";

/**
 * Divides a batch, so that the commits that write to certain collections form parts of their own. Such a commit may
 * change which collections are watched, and the commits after it were read without the new ones. Commits of one cluster
 * time stay together.
 */
export function* splitBatch(
  batch: CommitBatch,
  namespaces: ReadonlySet<string>,
): Generator<CommitBatch, void, void> {
  const { commits } = batch;
  let from = 0;
  for (const cut of namespaces.size === 0 ? [] : cutsOf(commits, namespaces)) {
    const part = commits.slice(from, cut);
    const through = part.at(-1)?.clusterTime ?? 0n;
    // Only the end of the whole batch has a token.
    yield { commits: part, through, resumeToken: undefined, invalidated: undefined };
    from = cut;
  }
  yield from === 0 ? batch : { ...batch, commits: commits.slice(from) };
}

/** The indexes at which another part begins, in ascending order. */
function cutsOf(commits: readonly Commit[], namespaces: ReadonlySet<string>): Set<number> {
  const cuts = new Set<number>();
  for (const [at, { events, clusterTime }] of commits.entries()) {
    if (!events.some(({ namespace }) => namespaces.has(namespace))) continue;
    let first = at;
    while (commits[first - 1]?.clusterTime === clusterTime) first--;
    let end = at + 1;
    while (commits[end]?.clusterTime === clusterTime) end++;
    if (first > 0) cuts.add(first);
    if (end < commits.length) cuts.add(end);
  }
  return cuts;
}
