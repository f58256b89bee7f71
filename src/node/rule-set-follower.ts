/**
 * Follows the rule set in force through the change stream, so that an edit takes effect at the same commit on every
 * node. A set must be compiled by that commit, and compiling takes time: the stream waits for it, with a limit. A node
 * that cannot apply a set keeps the last one and is not ready.
 */
import { BSON } from "mongodb";
import type { StateFollower } from "../feed/followed-collection.ts";
import type { HistoryEntry } from "../feed/history.ts";
import type { SnapshotReader } from "../feed/snapshot-reader.ts";
import { noteFault, runGuarded } from "../metrics/guard.ts";
import type { Commit, StreamEvent } from "../source/change-event.ts";
import { isMongoFailure } from "../source/mongo.ts";
import type { Namespace } from "../source/preflight.ts";
import { IN_FORCE, parseInForce, parseRuleSet } from "../source/rule-set-store.ts";
import type { Behind, ReadySet } from "./compile-rule-set.ts";
import type { RuleEdits } from "./rule-edits.ts";
import type { RuleSetLoader, RuleSetLoaderParts } from "./rule-set-loader.ts";
import { Attempt, RuleSetRetries } from "./rule-set-retries.ts";

/** The parts that the follower works with. */
export interface RuleSetFollowerParts extends Pick<RuleSetLoaderParts, "log" | "metrics"> {
  readonly loader: Pick<RuleSetLoader, "obtain" | "compileAhead" | "forgetAhead">;
  readonly edits: Pick<
    RuleEdits,
    "generation" | "rulesBehind" | "noteBehind" | "reject" | "takeEffectAt" | "takeEffectNow"
  >;
  readonly reader: Pick<SnapshotReader, "open" | "readAt">;
  /** The cluster time up to which commits were accepted; 0 before the first. */
  readonly headTime: () => bigint;
  /** Called when the rules in force have changed, or cannot change. */
  readonly onChange: () => void;
}

/** The number in a report that no set is known to be in force. Sets have numbers from 1 on. */
const NO_SET = 0;
/** The set that the document in force names, or why it names none. */
type InForceEdit = { readonly set: number } | string;
/** Limit of one read of the document in force, in milliseconds. */
const READ_MS = 10_000;

/** Keeps the rules of this node those of the set in force, commit by commit. */
export class RuleSetFollower implements StateFollower {
  readonly namespace: string;
  readonly #collection: Namespace;
  readonly #parts: RuleSetFollowerParts;
  /** The sets of commits that are about to be applied, by the identity of the commit. */
  readonly #ready = new Map<string, ReadySet | Behind>();
  /** The rules contain every edit up to this cluster time. The stream may still deliver earlier ones. */
  #readAt = 0n;
  #tookEffectAt = 0n;
  readonly #retries = new RuleSetRetries();

  constructor(collection: Namespace, parts: RuleSetFollowerParts) {
    this.#collection = collection;
    this.namespace = `${collection.database}.${collection.collection}`;
    this.#parts = parts;
  }

  /** The cluster time of the commit at which the rules took effect; 0 if they were in force at the start. */
  get tookEffectAt(): bigint {
    return this.#tookEffectAt;
  }

  lose(): void {
    // The rules stay in force. `prepare` reads which set they should be.
    this.#forget();
    this.#retries.stop();
    runGuarded(this.#parts, "rules.lose", () => this.#retries.cancel());
  }

  async prepare(clusterTime: bigint): Promise<void> {
    this.#forget();
    await this.#retries.instead(() => this.#prepare(clusterTime));
  }

  ready(commits: readonly Commit[]): Promise<void> | undefined {
    /** The last edit of each commit, by the identity of the commit. */
    const edits = new Map<string, InForceEdit>();
    for (const { clusterTime, identity, events } of commits) {
      if (clusterTime <= this.#readAt) continue;
      for (const event of events) {
        const edit = event.namespace === this.namespace ? this.#editOf(event) : null;
        if (edit !== null) edits.set(identity, edit);
      }
    }
    return edits.size === 0 ? undefined : this.#retries.instead(() => this.#obtainAll(edits));
  }

  apply(): void {
    // The set of this commit takes effect right after, in steps.
  }

  takeEffect(entry: HistoryEntry): Generator<void> | null {
    // To read the identity of a commit costs more than to see that there is no edit.
    if (this.#ready.size === 0) return null;
    const { identity } = entry.commit;
    const ready = this.#ready.get(identity);
    if (ready === undefined) return null;
    this.#ready.delete(identity);
    if (!("problem" in ready)) return this.#putInForce(ready, entry);
    this.#fallBehind(ready);
    return null;
  }

  *#putInForce(ready: ReadySet, entry: HistoryEntry): Generator<void> {
    const { edits } = this.#parts;
    try {
      yield* edits.takeEffectAt(ready, entry);
      this.#isUpToDate(entry.commit.clusterTime);
    } catch (error) {
      // An error here must not stop the stream of all clients.
      const { ref } = noteFault(this.#parts, "rules.takeEffect", error);
      this.#fallBehind({ set: ready.set.number, problem: `an unexpected error (ref ${ref} in the log)` });
    }
  }

  sweep(nowMs: number): void {
    const { edits } = this.#parts;
    // The set of a commit that is about to be applied must be compared with the rules that it was compiled against.
    if (edits.rulesBehind === null || this.#ready.size > 0) return;
    runGuarded(this.#parts, "rules.retry", () =>
      this.#retries.begin(nowMs, async (attempt) => {
        try {
          await this.#tryAgain(attempt);
        } finally {
          if (edits.rulesBehind !== null) this.#retries.later();
        }
      }),
    );
  }

  async #prepare(clusterTime: bigint): Promise<void> {
    const cursor = await this.#parts.reader.open(this.#inForceQuery, clusterTime);
    try {
      const [document] = await cursor.next();
      const edit = this.#inForceOf(document);
      if (typeof edit === "string") this.#fallBehind({ set: NO_SET, problem: edit });
      // The set came into force by this cluster time, and maybe later than the last commit that was accepted.
      else await this.#applyNow(edit.set, cursor.clusterTime);
      this.#readAt = cursor.clusterTime;
    } finally {
      cursor.close();
    }
  }

  async #obtainAll(edits: ReadonlyMap<string, InForceEdit>): Promise<void> {
    for (const [identity, edit] of edits) {
      const ready =
        typeof edit === "string" ? { set: NO_SET, problem: edit } : await this.#parts.loader.obtain(edit.set);
      this.#ready.set(identity, ready);
    }
  }

  /** Tries once more to put the set in force that should be. No commit of the collection is applied meanwhile. */
  async #tryAgain(attempt: Attempt): Promise<void> {
    const { edits, log, headTime } = this.#parts;
    const { set = NO_SET } = edits.rulesBehind ?? {};
    const head = headTime();
    const at = head > this.#readAt ? head : this.#readAt;
    try {
      const edit = set === NO_SET ? await this.#inForceAt(at) : { set };
      if (typeof edit !== "string") await this.#applyNow(edit.set, at, attempt);
      else await attempt.change(async () => this.#fallBehind({ set: NO_SET, problem: edit }));
    } catch (err) {
      if (!isMongoFailure(err)) throw err;
      log.debug({ err }, "the rule set in force could not be read; the next attempt repeats it");
    }
  }

  /**
   * Puts a set in force between two commits, because its own commit was not delivered.
   * @param at A cluster time at which it was in force.
   */
  async #applyNow(set: number, at: bigint, attempt = new Attempt()): Promise<void> {
    const { loader, edits } = this.#parts;
    const ready = set === edits.generation ? null : await loader.obtain(set);
    await attempt.change(async () => {
      if (ready === null) this.#isUpToDate(this.#tookEffectAt);
      else if ("problem" in ready) this.#fallBehind(ready);
      else if (await edits.takeEffectNow(ready, at, () => attempt.isWanted)) this.#isUpToDate(0n);
    });
  }

  get #inForceQuery() {
    return {
      ...this.#collection,
      filter: { _id: IN_FORCE },
      maxTimeMs: READ_MS,
    };
  }

  async #inForceAt(clusterTime: bigint): Promise<InForceEdit> {
    const [document] = await this.#parts.reader.readAt(this.#inForceQuery, clusterTime);
    return this.#inForceOf(document);
  }

  #inForceOf(document: Uint8Array | undefined): InForceEdit {
    return document === undefined ? this.#goneProblem() : readInForce(document);
  }

  /** The effect of an event: a set comes into force, or a problem; `null` for none. */
  #editOf(event: StreamEvent): InForceEdit | null {
    if (event.operation === "replaced-collection") return this.#goneProblem();
    const isInForce = BSON.deserialize(event.documentKey)["_id"] === IN_FORCE;
    if (event.operation === "delete") {
      this.#parts.loader.forgetAhead();
      return isInForce ? this.#goneProblem() : null;
    }
    if (event.after === undefined) return isInForce ? UNREADABLE : null;
    if (isInForce) return readInForce(event.after);
    this.#compileAhead(event.after);
    return null;
  }

  #compileAhead(document: Uint8Array): void {
    try {
      this.#parts.loader.compileAhead(parseRuleSet(document));
    } catch (error) {
      this.#parts.loader.forgetAhead();
      // The set may never come into force. If it does, reading it reports this again.
      this.#parts.log.debug({ err: error }, "a rule set could not be compiled ahead");
    }
  }

  #forget(): void {
    this.#ready.clear();
    this.#parts.loader.forgetAhead();
  }

  #goneProblem = (): string =>
    `no rule set is in force any more: the document ${IN_FORCE} of ${this.namespace} is gone. Push the rules again`;

  #isUpToDate(tookEffectAt: bigint): void {
    const { log, edits, onChange } = this.#parts;
    if (edits.rulesBehind !== null) log.info({ set: edits.generation }, "the rules are those in force again");
    this.#tookEffectAt = tookEffectAt;
    this.#retries.stop();
    edits.noteBehind(null);
    onChange();
  }

  #fallBehind(behind: Behind): void {
    const { log, edits, onChange } = this.#parts;
    const before = edits.rulesBehind;
    this.#retries.later();
    edits.noteBehind(behind);
    if (before?.set === behind.set && before.problem === behind.problem) return;
    edits.reject();
    log.error(
      { set: behind.set, inForce: edits.generation, problem: behind.problem },
      "the node cannot apply the rule set in force: it keeps its last one and is not ready",
    );
    onChange();
  }
}

const UNREADABLE =
  "the document that names the rule set in force was edited by hand, and cannot be read as of that time";

function readInForce(document: Uint8Array): InForceEdit {
  try {
    return parseInForce(document);
  } catch {
    return UNREADABLE;
  }
}
