/**
 * The lines of the log about access to the admin listener. Anybody who reaches it can cause refusals, so each
 * reason has at most one line a minute.
 */
import type { Logger } from "pino";
import { SparseLog } from "../../metrics/sparse-log.ts";
import type { Admin } from "./admin.ts";
import type { AdminRefusalReason } from "./admin-access.ts";

/** Writes who logged in, and who was refused. */
export class AccessLog {
  readonly #log: Logger;
  readonly #refused = new Map<AdminRefusalReason, SparseLog>();

  constructor(log: Logger) {
    this.#log = log;
  }

  /** @param from The address of the sender. */
  loggedIn({ name, roles }: Admin, from: string): void {
    this.#log.info({ admin: name, roles: [...roles], address: from }, "an admin has logged in");
  }

  /**
   * @param from The address of the sender.
   * @param nowMs Of any clock that only advances.
   */
  refused(reason: AdminRefusalReason, from: string, nowMs: number): void {
    let lines = this.#refused.get(reason);
    if (lines === undefined) {
      lines = new SparseLog();
      this.#refused.set(reason, lines);
    }
    lines.write(nowMs, (more) =>
      this.#log.warn({ reason, address: from, ...more }, "refused a request to the admin listener"),
    );
  }
}
