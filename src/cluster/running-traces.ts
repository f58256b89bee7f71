import type { Question } from "../admin/questions.ts";
import type { TraceToStart } from "../admin/trace/traced.ts";

/** A question by which a worker takes up a trace, or ends one. */
export type TraceQuestion =
  | { readonly question: "startTrace"; readonly value: TraceToStart }
  | { readonly question: "stopTrace"; readonly value: string };

/** The running traces of a fleet. A worker that is started again takes them up before it serves clients. */
export class RunningTraces {
  readonly #byId = new Map<string, TraceToStart>();

  /** How many are kept. */
  get size(): number {
    return this.#byId.size;
  }

  /** Notes a question that all workers are about to be asked. */
  note(question: Question, value: unknown, nowMs: number): void {
    // Each question has its own value.
    if (question === "startTrace") {
      // Most traces end by their time, and nobody says so. Without this they would accumulate.
      for (const [id, { endsAtMs }] of this.#byId) if (endsAtMs <= nowMs) this.#byId.delete(id);
      this.#byId.set((value as TraceToStart).id, value as TraceToStart);
    } else if (question === "stopTrace") this.#byId.delete(value as string);
  }

  /**
   * The next question to a worker that is starting; `null` if it follows what the others follow.
   * @param followed The traces that it follows. The question changes them.
   */
  nextFor(followed: Set<string>, nowMs: number): TraceQuestion | null {
    for (const [id, trace] of this.#byId) {
      if (trace.endsAtMs <= nowMs) this.#byId.delete(id);
      else if (!followed.has(id)) {
        followed.add(id);
        return { question: "startTrace", value: { ...trace, isTakenUp: true } };
      }
    }
    for (const id of followed) {
      if (this.#byId.has(id)) continue;
      followed.delete(id);
      return { question: "stopTrace", value: id };
    }
    return null;
  }
}
