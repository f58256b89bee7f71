import { outageOf } from "../outage.ts";
import type { Processes } from "../questions.ts";
import { ApiError, type Call } from "./endpoint.ts";
import { senderOf } from "./session-handlers.ts";

/** An act, as the audit names it. */
interface AskedAct {
  readonly act: string;
  readonly target: Readonly<Record<string, string | number | null>>;
  /** The next step of the admin if nobody knows whether the act took effect; `null` if it changes nothing. */
  readonly ifUnconfirmed: string | null;
}

/** Lets acts happen, each after its entry in the audit. */
export class Acts {
  readonly #processes: Processes;

  constructor(processes: Processes) {
    this.#processes = processes;
  }

  /**
   * Writes the entry of an act, and then lets it happen.
   * @throws {ApiError} `unavailable`: nothing was done. `unconfirmed`: the act may have taken effect, or may do so later.
   */
  async run<T>(call: Call, { act, target, ifUnconfirmed }: AskedAct, perform: () => Promise<T>): Promise<T> {
    const { admin } = senderOf(call);
    try {
      await this.#processes.one("addAudit", { admin: admin.name, act, target, from: call.from });
    } catch (cause) {
      const text = "the audit entry could not be written, so nothing was done: is MongoDB writable?";
      throw new ApiError(503, "unavailable", text, { cause });
    }
    try {
      return await perform();
    } catch (error) {
      const outage = outageOf(error);
      if (outage === null || !outage.mayStillHappen || ifUnconfirmed === null) throw error;
      const text = `the act is not confirmed: there was no answer in time, so it may have taken effect, or may still do so. ${ifUnconfirmed}`;
      throw new ApiError(504, "unconfirmed", text, { cause: error });
    }
  }
}
