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
import type { Namespace } from "../source/preflight.ts";
import { IN_FORCE, parseInForce, parseRuleSet } from "../source/rule-set-store.ts";
import type { Behind, ReadySet } from "./compile-rule-set.ts";
import type { RuleSetLoader, RuleSetLoaderParts } from "./rule-set-loader.ts";

/** The parts that the follower works with. */
export interface RuleSetFollowerParts extends Pick<RuleSetLoaderParts, "edits" | "log" | "metrics"> {
  readonly loader: RuleSetLoader;
  readonly reader: Pick<SnapshotReader, "open">;
  /** Called when the rules in force have changed, or cannot change. */
  readonly onChange: () => void;
}

/** Pause before a set that could not be applied is tried again. Most such faults need an admin. In milliseconds. */
const RETRY_MS = 10_000;
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
  #retryAtMs = Number.POSITIVE_INFINITY;

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
  }

  async prepare(clusterTime: bigint): Promise<void> {
    this.#forget();
    const query = { ...this.#collection, filter: { _id: IN_FORCE }, maxTimeMs: READ_MS };
    const cursor = await this.#parts.reader.open(query, clusterTime);
    try {
      const [document] = await cursor.next();
      const edit = document === undefined ? this.#goneProblem() : readInForce(document);
      if (typeof edit === "string") this.#fallBehind({ set: 0, problem: edit });
      else await this.#applyNow(edit.set, () => true);
      this.#readAt = cursor.clusterTime;
    } finally {
      cursor.close();
    }
  }

  ready(commits: readonly Commit[]): Promise<void> | undefined {
    const edits: { readonly identity: string; readonly set: number }[] = [];
    for (const { clusterTime, identity, events } of commits) {
      if (clusterTime <= this.#readAt) continue;
      for (const event of events) {
        const edit = event.namespace === this.namespace ? this.#editOf(event) : null;
        if (edit === null) continue;
        if (typeof edit === "string") this.#ready.set(identity, { set: 0, problem: edit });
        else edits.push({ identity, set: edit.set });
      }
    }
    return edits.length === 0 ? undefined : this.#obtainAll(edits);
  }

  apply(): void {
    // The set of this commit takes effect right after, in steps.
  }

  *takeEffect(entry: HistoryEntry): Generator<void> {
    const { identity, clusterTime } = entry.commit;
    const ready = this.#ready.get(identity);
    if (ready === undefined) return;
    this.#ready.delete(identity);
    if ("problem" in ready) {
      this.#fallBehind(ready);
      return;
    }
    const { edits } = this.#parts;
    try {
      yield* edits.takeEffectAt(ready, entry);
      this.#isUpToDate(clusterTime);
    } catch (error) {
      // An error here must not stop the stream of all clients.
      const { ref } = noteFault(this.#parts, "rules.takeEffect", error);
      this.#fallBehind({ set: ready.set.number, problem: `an unexpected error (ref ${ref} in the log)` });
    }
  }

  sweep(nowMs: number): void {
    const { edits } = this.#parts;
    const behind = edits.rulesBehind;
    if (behind === null || behind.set === 0 || nowMs < this.#retryAtMs) return;
    this.#retryAtMs = Number.POSITIVE_INFINITY;
    runGuarded(this.#parts, "rules.retry", async () => {
      try {
        await this.#applyNow(behind.set, () => edits.rulesBehind === behind);
      } finally {
        if (edits.rulesBehind !== null) this.#retryAtMs = Date.now() + RETRY_MS;
      }
    });
  }

  async #obtainAll(edits: readonly { readonly identity: string; readonly set: number }[]): Promise<void> {
    for (const { identity, set } of edits) this.#ready.set(identity, await this.#parts.loader.obtain(set));
  }

  /**
   * Puts a set in force between two commits, because its own commit was not delivered.
   * @param isWanted Whether no later set has taken effect meanwhile.
   */
  async #applyNow(set: number, isWanted: () => boolean): Promise<void> {
    const { loader, edits } = this.#parts;
    if (set === edits.generation) {
      this.#isUpToDate(this.#tookEffectAt);
      return;
    }
    const ready = await loader.obtain(set);
    if (!isWanted()) return;
    if ("problem" in ready) this.#fallBehind(ready);
    else if (await edits.takeEffectNow(ready, isWanted)) this.#isUpToDate(0n);
  }

  /** The effect of an event: a set comes into force, or a problem; `null` for none. */
  #editOf(event: StreamEvent): { readonly set: number } | string | null {
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
    this.#retryAtMs = Number.POSITIVE_INFINITY;
    edits.noteBehind(null);
    onChange();
  }

  #fallBehind(behind: Behind): void {
    const { log, edits, onChange } = this.#parts;
    const before = edits.rulesBehind;
    this.#retryAtMs = Date.now() + RETRY_MS;
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

function readInForce(document: Uint8Array): { readonly set: number } | string {
  try {
    return parseInForce(document);
  } catch {
    return UNREADABLE;
  }
}
