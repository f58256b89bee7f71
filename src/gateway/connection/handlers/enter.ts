/** Presence: a client enters rooms and leaves them. */
import { TidewireError } from "../../../protocol/errors.ts";
import type { EnterMessage, LeaveMessage } from "../../../protocol/messages.ts";
import type { GatewayContext } from "../../context.ts";
import type { Presence, PresenceMember } from "../../presence.ts";

/** The parts of a connection that entering needs. */
export interface EnterHost extends PresenceMember {
  readonly context: Pick<GatewayContext, "presence">;
}

/** [3.5] Answers once the entry is saved, or was found to be. */
export async function handleEnter(connection: EnterHost, message: EnterMessage): Promise<void> {
  await presenceOf(connection.context).enter(connection, message);
}

/** [3.5] Ends the entry at once. */
export async function handleLeave(connection: EnterHost, { id }: LeaveMessage): Promise<void> {
  await presenceOf(connection.context).leave(connection, id);
}

/** @throws {TidewireError} `bad-request` if this service has no presence. */
export function presenceOf({ presence }: Pick<GatewayContext, "presence">): Presence {
  if (presence !== null) return presence;
  throw new TidewireError(
    "bad-request",
    "this service has no presence: its configuration lacks that section",
  );
}
