/**
 * Answers whether the rules of this node are also those of a cluster time that its stream has not reached. A snapshot is
 * read at such a time, and an edit of the rules that lies in between must not be overlooked. Only rules in the database
 * have a cluster time.
 */
import type { Logger } from "pino";

/**
 * Reads the number of the rule set in force.
 * @returns `null` if there is none.
 */
export type ReadSetInForce = (clusterTime: bigint) => Promise<number | null>;

/** A question that waits for its turn. */
interface Asked {
  readonly clusterTime: bigint;
  readonly answer: (areSame: boolean) => void;
}

/** The rule set of this node, compared with that of later cluster times. */
export class RulesAhead {
  readonly #read: ReadSetInForce;
  readonly #log: Logger;
  #set: number;
  /** The set is known to be in force up to this cluster time. */
  #knownThrough = 0n;
  #asked: Asked[] = [];
  #isAsking = false;

  /** @param set The number of the rule set that is in force on this node. */
  constructor(set: number, read: ReadSetInForce, log: Logger) {
    this.#set = set;
    this.#read = read;
    this.#log = log;
  }

  /** Another set is in force on this node from now on. */
  replace(set: number): void {
    this.#set = set;
    this.#knownThrough = 0n;
  }

  /** Whether no edit of the rules has come into force up to a cluster time. `false` also if that cannot be read. */
  areSameAt(clusterTime: bigint): Promise<boolean> {
    if (clusterTime <= this.#knownThrough) return Promise.resolve(true);
    return new Promise((answer) => {
      this.#asked.push({ clusterTime, answer });
      if (!this.#isAsking) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#isAsking = true;
    // Questions of the same turn, and those that arrive during a read, share the next one.
    await null;
    for (let asked = this.#asked; asked.length > 0; asked = this.#asked) {
      this.#asked = [];
      const latest = asked.reduce((time, each) => (each.clusterTime > time ? each.clusterTime : time), 0n);
      const areSame = await this.#areSame(latest);
      for (const { answer } of asked) answer(areSame);
    }
    this.#isAsking = false;
  }

  async #areSame(clusterTime: bigint): Promise<boolean> {
    const set = this.#set;
    try {
      // Numbers grow with every edit. So an equal number means that there was no edit in between.
      const isSame = (await this.#read(clusterTime)) === set && this.#set === set;
      if (isSame && clusterTime > this.#knownThrough) this.#knownThrough = clusterTime;
      return isSame;
    } catch (err) {
      this.#log.debug({ err }, "could not read which rule set is in force; the change stream will show it");
      return false;
    }
  }
}
