import type { IncomingMessage, ServerResponse } from "node:http";
import { FaultLog } from "../metrics/fault-log.ts";
import { type GuardParts, runGuarded } from "../metrics/guard.ts";
import { answerJson } from "./answer-json.ts";
import { type Readiness, toPublicReadiness } from "./readiness.ts";

/** The readiness of one node, or of several as one. */
export type AskReadiness = () => Readiness | Promise<Readiness>;

/** Answers `/livez` (the process runs) and `/readyz` (the node takes clients). */
export class HealthRoutes {
  readonly #readiness: AskReadiness;
  readonly #guard: GuardParts;
  readonly #faults: FaultLog;

  constructor(readiness: AskReadiness, guard: GuardParts, now?: () => number) {
    this.#readiness = readiness;
    this.#guard = guard;
    this.#faults = new FaultLog(guard, "health.readiness", now);
  }

  /**
   * @param isAdmin Whether the answer may name the node, its collections and its processes.
   * @returns `false` for every other path, which then has no answer yet.
   */
  answer(request: IncomingMessage, response: ServerResponse, isAdmin: boolean): boolean {
    const [path] = (request.url ?? "").split("?");
    if (path === "/livez") {
      answerJson(response, 200, { status: "alive" });
      return true;
    }
    if (path !== "/readyz") return false;
    const answer = (now: Readiness) =>
      answerJson(response, now.ready ? 200 : 503, isAdmin ? now : toPublicReadiness(now));
    // A node that cannot compute its readiness must not get clients.
    const failed = (error: unknown) => {
      this.#faults.note(error, "the readiness could not be determined; /readyz answers 503");
      answerJson(response, 503, { ready: false, status: "no-answer" });
    };
    const give = () => Promise.resolve().then(this.#readiness).then(answer, failed);
    // An answer that cannot be written ends only this request.
    runGuarded(this.#guard, "health.answer", give, () => response.destroy());
    return true;
  }
}
