import { guarded } from "../metrics/guard.ts";
import { isMongoFailure } from "../source/mongo.ts";
import type { NodeRules, NodeRulesStore } from "../source/node-rules-store.ts";
import type { Basics } from "./basics.ts";

/** A node that does not report for three of these counts as gone. In milliseconds. */
const REPORT_MS = 5_000;

/** Reports in the state database that this node runs, and which rule set it has in force. */
export class RulesReports {
  readonly #store: NodeRulesStore;
  readonly #answer: <T>(ask: () => Promise<T>) => Promise<T>;
  readonly #basics: Basics;
  readonly #version: string;
  readonly #rulesNow: () => NodeRules;
  #reporting: Promise<void> | undefined;
  #isDue = false;
  #reported = "";
  #isStopped = false;

  constructor(
    basics: Basics,
    parts: {
      readonly store: NodeRulesStore;
      readonly answer: <T>(ask: () => Promise<T>) => Promise<T>;
      readonly version: string;
      readonly rulesNow: () => NodeRules;
    },
  ) {
    this.#basics = basics;
    this.#store = parts.store;
    this.#answer = parts.answer;
    this.#version = parts.version;
    this.#rulesNow = parts.rulesNow;
    const report = guarded(basics, "node.report", () => this.report());
    const timer = setInterval(report, REPORT_MS).unref();
    basics.onStop(async () => {
      clearInterval(timer);
      this.#isStopped = true;
      await this.#reporting;
      await this.#answer(() => this.#store.remove(basics.node)).catch(() => {}); // it counts as gone soon anyway
    });
  }

  /** Reports now. A report that is in progress is followed by another one, so that the last change is never missing. */
  report(): void {
    this.#isDue = true;
    this.#reporting ??= this.#reportAll().finally(() => {
      this.#reporting = undefined;
    });
  }

  async #reportAll(): Promise<void> {
    while (this.#isDue && !this.#isStopped) {
      this.#isDue = false;
      const rules = this.#rulesNow();
      const text = `${rules.generation} ${JSON.stringify(rules.behind)}`;
      try {
        const { node } = this.#basics;
        await this.#answer(() => this.#store.report(node, this.#version, rules, text !== this.#reported));
        this.#reported = text;
      } catch (error) {
        if (!isMongoFailure(error)) throw error;
        this.#basics.log.debug(
          { err: error },
          "the node could not report its rules; the next report repeats it",
        );
      }
    }
  }
}
