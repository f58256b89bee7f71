/** [G1] A watermark never names a point at which the client's rows were others, although changes cancel each other. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { AggregatedResult } from "../../../src/feed/aggregated-result.ts";
import type { Chunk } from "../../../src/feed/chunk.ts";
import { BEFORE, type Position } from "../../../src/feed/cursor.ts";
import type { Delivery } from "../../../src/feed/delivery.ts";
import type { LiveQuerySpec } from "../../../src/feed/live-query-spec.ts";
import { AttachmentStart } from "../../../src/gateway/connection/attachment-start.ts";
import { ClientPosition } from "../../../src/gateway/connection/client-position.ts";
import { parseAggregate } from "../../../src/match/aggregate.ts";
import { startSeed } from "../../property/seed.ts";
import { Random } from "../../support/random.ts";
import { FRESH, Recorder, terms } from "../../support/recorder.ts";
import { commitOf, eventOf, FROM, insertOf, settled, specOf, startFeed } from "./feed-parts.ts";
import { ScriptedReader } from "./scripted-reader.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance", "Date"] });
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const aggregate = parseAggregate({ by: "g", values: { n: { count: true } } });
const byGroup: LiveQuerySpec = { ...specOf({}), key: "by g", aggregate };
const others: LiveQuerySpec = { ...specOf({}), key: "others", collectionName: "others" };

type World = Awaited<ReturnType<typeof startFeed>>;

/** A client's copy of one live query, with the cursors that it was sent. */
class Held extends Recorder {
  readonly start: AttachmentStart;
  delivery!: Delivery;

  constructor(feed: World["feed"]) {
    super();
    this.start = new AttachmentStart({ context: { feed }, identity: null } as never, {} as never);
  }

  override write(chunk: Chunk): boolean {
    const isWritten = super.write(chunk);
    if (isWritten) this.start.noteSent(chunk.cursor);
    return isWritten;
  }

  override noteUnchanged(cursor: string): void {
    this.start.noteSent(cursor);
  }
}

async function joinRows(feed: World["feed"], held: Held): Promise<void> {
  const delivery = feed.subscribe(byGroup, held, terms());
  held.delivery = delivery;
  held.start.decide(await delivery.open(FRESH));
  delivery.run();
}

/** Work takes so long that there is a pause wherever one is possible. */
function hastyClock(random: Random) {
  let now = 0;
  return {
    now: () => (now += random.int(0, 30)),
    yield: () => new Promise<void>((resolve) => setImmediate(resolve)),
  };
}

/** Some commits must wait, as if a value had to be read. */
function makeWait(random: Random, waits: boolean): void {
  const { apply } = AggregatedResult.prototype;
  vi.spyOn(AggregatedResult.prototype, "apply").mockImplementation(function (this: AggregatedResult, entry) {
    const found = apply.call(this, entry);
    if (!waits || found instanceof Promise || random.chance(0.8)) return found;
    return (async () => {
      for (let turn = random.int(0, 3); turn > 0; turn--) await settled();
      return found;
    })();
  });
}

/** One connection that follows the groups of one collection, and another collection. */
class Client {
  readonly #feed: World["feed"];
  readonly #position: ClientPosition;
  rows: Held;
  readonly plain: Held;

  constructor(feed: World["feed"]) {
    this.#feed = feed;
    this.#position = new ClientPosition(feed);
    this.rows = new Held(feed);
    this.plain = new Held(feed);
  }

  async join(): Promise<void> {
    await this.#follow(this.rows, byGroup, null);
    await this.#follow(this.plain, others, null);
  }

  /** Comes back from what it holds of the rows. */
  async comeBack(): Promise<void> {
    const before = this.rows;
    const { sent } = before.start;
    if (sent === null) return;
    this.#feed.unsubscribe(before.delivery);
    before.closed = true;
    before.drain();
    this.rows = new Held(this.#feed);
    for (const [key, row] of before.state) this.rows.state.set(key, row);
    await this.#follow(this.rows, byGroup, sent.position, sent.cursor);
  }

  async #follow(
    held: Held,
    spec: LiveQuerySpec,
    resumeFrom: Position | null,
    cursor?: string,
  ): Promise<void> {
    const request = cursor === undefined ? FRESH : { ...FRESH, resumeFrom, cursor };
    const delivery = this.#feed.subscribe(spec, held, terms());
    held.delivery = delivery;
    held.start.decide(await delivery.open(request));
    delivery.run();
  }

  /** Sends a watermark as `Progress.sendWatermark` does. */
  watermark(): Position | null {
    if (!this.#feed.timeline.isSettled) return null;
    this.rows.delivery.sendHeld();
    if (!this.rows.delivery.isLive || !this.plain.delivery.isLive) return null;
    const cursor = this.#position.next([this.rows.start, this.plain.start]);
    return this.#feed.timeline.codec.published(cursor)?.position ?? null;
  }

  get counts(): Record<string, number> {
    const rows = [...this.rows.state.values()] as { _id: string; n: { $numberInt: string } | number }[];
    return Object.fromEntries(
      rows
        .map(({ _id, n }) => [_id, typeof n === "number" ? n : Number(n.$numberInt)] as const)
        .sort(([a], [b]) => (a < b ? -1 : 1)),
    );
  }
}

/** Writes things and others, and knows how many things each group had at each commit. */
class Writer {
  readonly #world: World;
  readonly #random: Random;
  readonly #groups = new Map<number, string>();
  readonly #counts: Record<string, number>[] = [{}];
  #others = 0;
  #accepted = Promise.resolve();

  constructor(world: World, random: Random) {
    this.#world = world;
    this.#random = random;
  }

  async write(): Promise<void> {
    const commits = Array.from({ length: this.#random.int(1, 3) }, () => {
      const offset = this.#counts.length;
      const event = this.#random.chance(0.6) ? this.move() : this.other();
      const counts: Record<string, number> = {};
      for (const group of [...this.#groups.values()].sort()) counts[group] = (counts[group] ?? 0) + 1;
      this.#counts.push(counts);
      return commitOf(offset, [event]);
    });
    // The stream waits until a batch has been accepted.
    this.#accepted = this.#accepted.then(() => this.#world.accept(...commits));
    await this.#accepted;
  }

  move() {
    const _id = this.#random.int(1, 2);
    const before = this.#groups.get(_id);
    const after = this.#random.chance(0.2) ? undefined : this.#random.pick(["a", "b"]);
    if (after === undefined) this.#groups.delete(_id);
    else this.#groups.set(_id, after);
    if (before === undefined && after === undefined) return this.other();
    return eventOf(
      before === undefined ? null : { _id, g: before },
      after === undefined ? null : { _id, g: after },
    );
  }

  other() {
    return eventOf(null, { _id: ++this.#others }, "others");
  }

  at({ clusterTime, within }: Position): Record<string, number> {
    const offset = Number(clusterTime - FROM) - (within === BEFORE ? 1 : 0);
    return this.#counts[Math.max(0, offset)] ?? {};
  }
}

test("[G1] rows that change and change back advance the cursor of the client, although nothing is sent", async () => {
  const world = await startFeed(new ScriptedReader(), { history: { cursorStepMs: 1_000 } });
  const client = new Client(world.feed);
  await client.join();
  await settled();
  await world.accept(commitOf(1, [insertOf({ _id: 1, g: "a" })]));
  // The published head is of this point for a second.
  expect(client.watermark()?.clusterTime).toBe(FROM + 1n);
  await world.accept(
    commitOf(2, [insertOf({ _id: 2, g: "a" })]),
    commitOf(3, [insertOf({ _id: 1 }, "others")]),
    commitOf(4, [eventOf({ _id: 2, g: "a" }, null)]),
  );
  expect(client.plain.state.size).toBe(1);
  // At commit 3 the row was another one.
  expect(client.watermark()?.clusterTime).toBe(FROM + 4n);
  expect(client.counts).toEqual({ a: 1 });
});

const seed = startSeed("cancelled rows");

test.each(Array.from({ length: 20 }, (_, round) => seed + round))(
  "[G1] at each watermark clients hold the rows of its point, whatever cancels (seed %i)",
  async (from) => {
    const random = new Random(from);
    const pauses = random.chance(0.5);
    const waits = random.chance(0.5);
    makeWait(random.fork(), waits);
    const world = await startFeed(new ScriptedReader(), {
      history: { bytes: 64 * 1_048_576, cursorStepMs: 1_000 },
      // Rows are sent at once, or are held back for a moment.
      limits: { aggregateIntervalMs: random.pick([0, 20, 200]) },
      ...(pauses ? { sliceClock: hastyClock(random.fork()) } : {}),
    });
    const writer = new Writer(world, random);
    const clients = Array.from({ length: 3 }, () => new Client(world.feed));
    for (const client of clients) await client.join();
    // With so many followers a flush has pauses.
    const idle = Array.from({ length: random.pick([0, 130]) }, () => new Held(world.feed));
    for (const sink of idle) await joinRows(world.feed, sink);
    await settled();
    let compared = 0;
    for (let step = 0; step < 400; step++) {
      const client = random.pick(clients);
      const choice = random.next();
      if (choice < 0.5) {
        const written = writer.write();
        if (!pauses || random.chance(0.5)) await written;
      } else if (choice < 0.6) await vi.advanceTimersByTimeAsync(random.int(1, 60));
      else if (choice < 0.66) client.rows.hasRoom = false;
      else if (choice < 0.76) client.rows.drain();
      else if (choice < 0.79) await client.comeBack();
      else {
        for (let turn = random.int(0, 20); turn > 0; turn--) await settled();
        const point = client.watermark();
        if (point === null) continue;
        compared++;
        expect(client.counts, `step ${step}`).toEqual(writer.at(point));
      }
      if (random.chance(0.5)) await settled();
    }
    expect(compared).toBeGreaterThan(5);
    for (const { rows, plain } of clients) expect([...rows.errors, ...plain.errors]).toEqual([]);
  },
);
