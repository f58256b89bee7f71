import type { Processes } from "../questions.ts";
import { ApiError, type Call } from "./endpoint.ts";
import { senderOf } from "./session-handlers.ts";

/** Lets acts happen, each after its entry in the audit. */
export class Acts {
  readonly #processes: Processes;

  constructor(processes: Processes) {
    this.#processes = processes;
  }

  /**
   * Writes the entry of an act, and then lets it happen.
   * @throws {ApiError} `unavailable`: the entry could not be written, so nothing was done.
   */
  async run<T>(
    call: Call,
    act: string,
    target: Readonly<Record<string, string | number | null>>,
    perform: () => Promise<T>,
  ): Promise<T> {
    const { admin } = senderOf(call);
    try {
      await this.#processes.one("addAudit", { admin: admin.name, act, target, from: call.from });
    } catch (cause) {
      const text = "the audit entry could not be written, so nothing was done: is MongoDB writable?";
      throw new ApiError(503, "unavailable", text, { cause });
    }
    return perform();
  }
}
