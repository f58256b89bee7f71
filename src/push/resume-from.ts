import type { GatewayContext } from "../gateway/context.ts";
import type { SavedRegistration } from "../source/push-store.ts";

/**
 * Chooses the cursor with which a registration continues. A cursor counts only with a ticket that begins before it: a
 * registration that is newer than the position of its partition continues from its own beginning.
 * @param start The ticket, and the cursor that was sent with it.
 * @param through A later cursor, up to which everything was received; `null` if there is none.
 * @returns `null` to begin at the head.
 */
export async function resumeFrom(
  { feed, sealer }: Pick<GatewayContext, "feed" | "sealer">,
  start: SavedRegistration["start"],
  through: string | null,
): Promise<SavedRegistration["start"]> {
  if (start === null || through === null || through === start.cursor) return start;
  const ticket = await sealer.open(start.ticket);
  if (ticket === null) return start; // the subscription refuses it, with the reason
  const { codec } = feed.timeline;
  const [since, position] = [codec.decode(ticket.since), codec.decode(through)];
  if (typeof since === "string" || typeof position === "string") return start;
  return position.clusterTime > since.clusterTime ? { ...start, cursor: through } : start;
}
