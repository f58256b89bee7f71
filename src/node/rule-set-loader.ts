import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import { noteFault } from "../metrics/guard.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { isMongoFailure, type MongoAccess } from "../source/mongo.ts";
import type { SavedRuleSet } from "../source/rule-set-store.ts";
import { StartupError } from "../source/startup-error.ts";
import {
  type Behind,
  type CompiledSet,
  compileRuleSet,
  identitiesOf,
  identitiesUnder,
  type ReadySet,
} from "./compile-rule-set.ts";
import { interruptedRules } from "./interrupted-rules.ts";
import { checkAddedCollections } from "./reload.ts";
import type { RuleEdits } from "./rule-edits.ts";

/** The parts that the loader works with. */
export interface RuleSetLoaderParts {
  readonly client: MongoAccess;
  /** Reads a set; `null` if it is no longer kept. */
  readonly load: (number: number) => Promise<SavedRuleSet | null>;
  readonly edits: RuleEdits;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** Pause between attempts while MongoDB does not answer, in milliseconds. */
const PAUSE_MS = 250;
/** How many sets are compiled before they come into force. Usually one of them does, within milliseconds. */
const AHEAD_MAX = 2;

/** Prepares rule sets, so that they can take effect in one turn. */
export class RuleSetLoader {
  readonly #parts: RuleSetLoaderParts;
  readonly #ahead = new Map<number, Promise<CompiledSet>>();
  readonly #stopping = new AbortController();

  constructor(parts: RuleSetLoaderParts) {
    this.#parts = parts;
  }

  /** Ends all waiting. */
  stop(): void {
    this.#stopping.abort();
  }

  /** Compiles a set that will probably be asked for next. */
  compileAhead(set: SavedRuleSet): void {
    const compiled = compileRuleSet(set, this.#parts.edits.config);
    compiled.catch(() => {}); // `obtain` reports it, if the set comes into force
    this.#ahead.set(set.number, compiled);
    const [oldest] = this.#ahead.keys();
    if (this.#ahead.size > AHEAD_MAX && oldest !== undefined) this.#ahead.delete(oldest);
  }

  /**
   * Forgets what was compiled ahead. The number of a set that was discarded is used again, and without the events in
   * between the next set of that number would be taken for it.
   */
  forgetAhead(): void {
    this.#ahead.clear();
  }

  /** Prepares a set within `rules.applyTimeout`. Never rejects. */
  async obtain(number: number): Promise<ReadySet | Behind> {
    const { applyTimeoutMs } = this.#parts.edits.config.rules;
    const problem = `rule set ${number} was not ready within rules.applyTimeout (${applyTimeoutMs} ms)`;
    const behind: Behind = { set: number, problem };
    const ended = new AbortController();
    const signal = AbortSignal.any([ended.signal, this.#stopping.signal]);
    // Not `AbortSignal.timeout`: the garbage collector of Node 20 drops one that only `AbortSignal.any` refers to, and
    // with it the timeout.
    const givenUp = sleep(applyTimeoutMs, behind, { signal }).catch(() => behind);
    try {
      return await Promise.race([this.#obtain(number, signal), givenUp]);
    } catch (error) {
      if (error instanceof StartupError) return { set: number, problem: error.message };
      const { ref } = noteFault(this.#parts, "rules.obtain", error);
      return {
        set: number,
        problem: `rule set ${number} caused an unexpected error (ref ${ref} in the log)`,
      };
    } finally {
      ended.abort();
      this.#ahead.delete(number);
    }
  }

  async #obtain(number: number, signal: AbortSignal): Promise<ReadySet | Behind> {
    for (;;) {
      try {
        return await this.#tryToObtain(number);
      } catch (error) {
        if (!isMongoFailure(error) || signal.aborted) throw error;
        this.#parts.log.warn({ err: error, set: number }, "a rule set could not be read; trying again");
        await sleep(PAUSE_MS, undefined, { signal }).catch(() => {}); // the wait has ended already
      }
    }
  }

  async #tryToObtain(number: number): Promise<ReadySet | Behind> {
    const { client, edits } = this.#parts;
    const compiled = await (this.#ahead.get(number) ?? this.#compile(number));
    const [added, interrupted] = await Promise.all([
      checkAddedCollections(client, edits.config, compiled.config),
      this.#interruptedBy(compiled),
    ]);
    return { ...compiled, added, interrupted };
  }

  async #compile(number: number): Promise<CompiledSet> {
    const { load, edits } = this.#parts;
    const set = await load(number).catch((error: unknown) => {
      if (isMongoFailure(error)) throw error;
      throw new StartupError(error instanceof Error ? error.message : String(error), [], { cause: error });
    });
    if (set === null) throw new StartupError(`rule set ${number} does not exist`);
    return compileRuleSet(set, edits.config);
  }

  /** Usually the set follows the one in force, and nothing has to be read. */
  #interruptedBy({ set, rules }: CompiledSet): Promise<ReadonlySet<string>> {
    const { load, edits } = this.#parts;
    const { generation, config } = edits;
    const lastKnown = (identity: string) => (edits.hasInForce(identity) ? generation : 0);
    return interruptedRules(set, identitiesOf(rules), lastKnown, {
      load,
      identities: identitiesUnder(config),
    });
  }
}
