/**
 * Advances `%%now`. Rules that compare with the current time change without a write, so the service authorizes their
 * subscriptions again at fixed steps; between two steps the time does not change, which keeps live queries shareable.
 */
import type { Account } from "../feed/account.ts";
import type { LookupSet } from "../feed/lookup-set.ts";
import { Slices } from "../feed/slices.ts";
import { guarded, noteFault } from "../metrics/guard.ts";
import { type BoundLookup, LookupsNeeded } from "../rules/bind-rule.ts";
import { appliedRuleOf } from "../rules/grant.ts";
import type { Connection } from "./connection/connection.ts";
import { reauthorizeForStep } from "./connection/reauthorization.ts";
import type { Subscription } from "./connection/subscription.ts";
import type { GatewayContext } from "./context.ts";

/** Lookup sets of the next step are read this long before it, or half a step if that is shorter; in milliseconds. */
const PREPARE_MS = 5_000;

/**
 * Advances `%%now` in steps. At each step, all subscriptions whose rules use it are authorized again between two
 * commits, so that nothing of a later commit is sent under the rights of the previous step.
 */
export class NowSteps {
  readonly #context: GatewayContext;
  readonly #connections: () => Iterable<Connection>;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;
  /** The step whose lookup sets are being read, or were read. */
  #preparedMs = Number.NEGATIVE_INFINITY;
  #prepared = nothingPrepared();

  constructor(context: GatewayContext, connections: () => Iterable<Connection>) {
    this.#context = context;
    this.#connections = connections;
  }

  /** Schedules the next step. Call it again when the step length changes. */
  schedule(): void {
    clearTimeout(this.#timer);
    if (this.#isStopped) return;
    const { nextMs, stepMs } = this.#context.clock;
    const prepareMs = nextMs - Math.min(PREPARE_MS, stepMs / 2);
    const atMs = this.#preparedMs === nextMs ? nextMs : prepareMs;
    const wake = guarded(this.#context, "gateway.nowStep", () => this.#wake());
    this.#timer = setTimeout(wake, Math.max(1, atMs - Date.now())).unref();
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    this.#letGo();
  }

  async #wake(): Promise<void> {
    try {
      const { clock } = this.#context;
      if (Date.now() >= clock.nextMs) await this.#step();
      else if (this.#preparedMs !== clock.nextMs) await this.#prepare(clock.nextMs);
    } finally {
      this.schedule();
    }
  }

  /** With many connections this pauses now and then. No commit is delivered meanwhile. */
  async #step(): Promise<void> {
    const { feed, clock } = this.#context;
    await feed.exclusively((slices) =>
      clock.advance(Date.now()) ? slices.run(this.#moveEach()) : undefined,
    );
    this.#letGo();
  }

  *#moveEach(): Generator<void, void> {
    for (const connection of [...this.#connections()]) {
      try {
        yield* reauthorizeForStep(connection, (moved) => this.#context.metrics.nowMoves.inc(moved));
      } catch (error) {
        connection.fail(noteFault(this.#context, "gateway.nowStep", error));
      }
      yield;
    }
    if (this.#context.presence !== null) yield* this.#context.presence.judgeAll(true);
  }

  /** Reads the lookup sets of the next step, so that no subscription must be silent while they are read. */
  async #prepare(nextMs: number): Promise<void> {
    this.#letGo();
    this.#preparedMs = nextMs;
    await new Slices(this.#context.limits.commitSliceMs).run(this.#acquireEach(nextMs));
  }

  *#acquireEach(nextMs: number): Generator<void, void> {
    for (const connection of [...this.#connections()]) {
      for (const subscription of connection.subscriptions) {
        if (this.#isStopped) return;
        if (subscription.query.nowMs === null || subscription.lookups.sets.length === 0) continue;
        for (const lookup of neededAt(connection, subscription, nextMs))
          this.#acquire(lookup, connection.login.account);
        yield;
      }
    }
  }

  #acquire(lookup: BoundLookup, account: Account): void {
    const prepared = this.#prepared;
    if (prepared.keys.has(lookup.key)) return;
    prepared.keys.add(lookup.key);
    const { lookups } = this.#context.feed;
    // A set that cannot be read now is read at the step, and its subscriptions are silent until then.
    lookups.acquire(lookup, account).then(
      (set) => (prepared.isOver ? lookups.release(set) : prepared.sets.push(set)),
      () => {},
    );
  }

  /** Releases the prepared sets. From here on they are held by the subscriptions that use them. */
  #letGo(): void {
    const { sets } = this.#prepared;
    this.#prepared.isOver = true;
    this.#prepared = nothingPrepared();
    for (const set of sets) this.#context.feed.lookups.release(set);
  }
}

interface Prepared {
  readonly keys: Set<string>;
  readonly sets: LookupSet[];
  isOver: boolean;
}

const nothingPrepared = (): Prepared => ({ keys: new Set(), sets: [], isOver: false });

/** The lookup sets that a subscription will need at another time and does not have. */
function neededAt(
  { context, identity }: Connection,
  { request, lookups }: Subscription,
  nowMs: number,
): readonly BoundLookup[] {
  try {
    appliedRuleOf(context.rules, identity, request.collection, nowMs, lookups.values);
  } catch (error) {
    if (error instanceof LookupsNeeded) return error.lookups;
  }
  return []; // the step itself handles any other error
}
