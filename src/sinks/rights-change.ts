import type { Courier } from "./courier.ts";
import type { SinkLedger } from "./sink-ledger.ts";
import type { SinkRunParts } from "./sink-run-parts.ts";
import type { SinkWriter } from "./sink-writer.ts";
import { sizeOf } from "./stored-message.ts";

/** Messages that are read at a time; at least 2, because a message is compared with the next one. */
const PAGE = { messages: 500, bytes: 4 * 1_048_576 };

/** The parts that a change of rights works with. */
type RightsChangeParts = Pick<SinkRunParts, "answer" | "store" | "name"> & {
  readonly ledger: SinkLedger;
  readonly courier: Courier;
  readonly writer: SinkWriter;
};

/**
 * A change of rights while messages wait that were decided under the former ones. The difference goes to the spool as well.
 * When it is complete, only the last message of each `_id` is kept: it says what the new rights show, and an earlier one
 * may say more.
 */
export class RightsChange {
  readonly #parts: RightsChangeParts;
  #isGoingOn = false;

  constructor(parts: RightsChangeParts) {
    this.#parts = parts;
  }

  /** Whether nothing may be sent, because a message that waits may say what the rights forbid now. */
  get isGoingOn(): boolean {
    return this.#isGoingOn;
  }

  begin(): void {
    this.#isGoingOn = true;
  }

  /** The difference is complete. Settles when the messages that wait may be sent. */
  async end(): Promise<void> {
    if (!this.#isGoingOn) return;
    const { courier, writer } = this.#parts;
    await courier.idle();
    await writer.flush();
    await this.#keepLatest();
    this.#isGoingOn = false;
  }

  async #keepLatest(): Promise<void> {
    const { answer, store, name, ledger, writer } = this.#parts;
    for (let from = { key: "", seq: 0 }; ; ) {
      const { messages, isAll } = await answer(() => store.spooledByKey(name, from, PAGE));
      for (const [index, { seq, message }] of messages.entries()) {
        if (messages[index + 1]?.message.key !== message.key) continue;
        ledger.noteSpooled(-sizeOf(message));
        writer.remove(seq);
      }
      await writer.flush();
      const last = messages.at(-1);
      if (isAll || last === undefined) return;
      from = { key: last.message.key, seq: last.seq };
    }
  }
}
