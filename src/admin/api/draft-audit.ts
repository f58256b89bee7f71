import type { Acts } from "./acts.ts";
import type { Call } from "./endpoint.ts";
import { REPEATED_MS, Repeats } from "./repeats.ts";
import { senderOf } from "./session-handlers.ts";

/** Ways to judge users under a draft that never takes effect. */
type DraftAct = "plan" | "replay-requests";

/**
 * Records who judges users under drafts, because the conditions of a draft can find out claims and values of lookups. An editor
 * asks again with every pause of its user, so one entry covers all drafts of an admin from one address for a while.
 */
export class DraftAudit {
  readonly #acts: Acts;
  readonly #repeats = new Repeats();

  constructor(acts: Acts) {
    this.#acts = acts;
  }

  /**
   * Writes an entry unless there is a recent one.
   * @throws {ApiError} `unavailable`: it cannot be written, so the draft must not be judged.
   */
  async note(call: Call, act: DraftAct): Promise<void> {
    const about = JSON.stringify([senderOf(call).admin.name, call.from, act]);
    if (this.#repeats.has(about, call.nowMs)) return;
    const target = { drafts: `all within ${REPEATED_MS / 60_000} minutes` };
    await this.#acts.run(call, { act, target, ifUnconfirmed: null }, async () => {});
    this.#repeats.note(about, call.nowMs);
  }
}
