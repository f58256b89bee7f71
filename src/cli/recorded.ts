/** The replay of recorded requests, for the commands that plan an edit of the rules. */
import type { RuleSet } from "../rules/compile-rules.ts";
import { parseRecorded, type Replay, replayRequests } from "../rules/replay-requests.ts";
import type { RequestStore } from "../source/request-store.ts";

const EFFECTS = ["unchanged", "gains", "loses", "changes", "refused", "allowed", "unknown"] as const;
/** A terminal shows no more samples. */
const SHOWN_MAX = 10;
const LINE_MAX = 160;

/** Replays what the nodes have recorded; `null` if they have recorded nothing. */
export async function replayRecorded(
  store: RequestStore,
  inForce: RuleSet,
  draft: RuleSet,
  nowMs: number,
): Promise<Replay | null> {
  const texts = await store.all(nowMs);
  if (texts.length === 0) return null;
  return replayRequests(parseRecorded(texts), inForce, draft, nowMs);
}

/** The result of a replay, for a terminal. */
export function replayText({ requests, effects, samples }: Replay): string {
  const counts = EFFECTS.filter((effect) => effects[effect] > 0).map(
    (effect) => `${effects[effect]} ${effect}`,
  );
  const lines = samples.slice(0, SHOWN_MAX).map(({ effect, request, claims }) => {
    const user = claims === null ? "anonymous" : JSON.stringify(claims);
    return `  ${effect.padEnd(9)} ${user} ${JSON.stringify(request)}`.slice(0, LINE_MAX);
  });
  return [`recorded: ${requests} requests: ${counts.join(", ")}`, ...lines].join("\n");
}
