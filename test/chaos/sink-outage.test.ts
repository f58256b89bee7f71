/** A webhook that is down while as many changes are written as an hour at 100 per second has. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { FUZZ_FACTOR } from "../property/seed.ts";
import { spawnService } from "../support/spawn-service.ts";
import { webhookWorld } from "../support/webhook-world.ts";
import { type Counted, DOCUMENTS } from "./sink-world.ts";

/** Changes of one write: a multiple of the documents. */
const BULK = 300;
/**
 * 360,000 with TIDEWIRE_FUZZ=20. They are written as fast as the sink spools them, because an hour of waiting would show
 * nothing more: what waits for the target are messages, and the target is tried again every 30 s.
 */
const CHANGES = BULK * Math.ceil((FUZZ_FACTOR >= 10 ? 60 : 12) * Math.min(FUZZ_FACTOR, 20));
/** Changes that may be written before they are spooled. */
const AHEAD = 5_000;
const PATIENCE = { timeout: 120_000 + CHANGES * 20, interval: 100 };
/** The resident memory of a node that spools, in KiB: the spool takes none. */
const MEMORY_MAX = 600 * 1_024;

interface SinkDocument {
  _id: string;
  position: unknown;
  spooledMessages: number;
  spooledBytes: number;
  resets: number;
}

/** The largest resident memory of a process so far, in KiB. */
const peakOf = (pid: number) =>
  Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);

test(
  "a webhook that was down for an hour of changes receives all of them afterwards, each document in order",
  async () => {
    const world = await webhookWorld("counted");
    const { receiver, name, client, state } = world;
    const { mongodb, ...file } = world.config;
    const config = { ...file, mongodb: mongodb as Record<string, unknown>, log: { level: "info" } };
    const node = await spawnService({ config });
    const sink = () => state.collection<SinkDocument>("sinks").findOne({ _id: "all" });
    await expect.poll(async () => (await sink())?.position ?? null, PATIENCE).not.toBeNull();
    await receiver.close();

    const counted = client.db(name).collection<Counted>("counted");
    const written = performance.now();
    for (let count = 0; count < CHANGES; count += BULK) {
      const updates = Array.from({ length: BULK }, (_, index) => {
        const n = Math.floor((count + index) / DOCUMENTS) + 1;
        return { updateOne: { filter: { _id: index % DOCUMENTS }, update: { $set: { n } }, upsert: true } };
      });
      await counted.bulkWrite(updates, { ordered: true });
      await expect
        .poll(async () => (await sink())?.spooledMessages ?? 0, PATIENCE)
        .toBeGreaterThanOrEqual(count + BULK - AHEAD);
    }
    await expect.poll(async () => (await sink())?.spooledMessages, PATIENCE).toBe(CHANGES);
    const spooledSeconds = (performance.now() - written) / 1_000;
    const spooledBytes = (await sink())?.spooledBytes ?? 0;
    expect(spooledBytes).toBeLessThan(1_073_741_824);

    const last: number[] = new Array(DOCUMENTS).fill(0);
    let received = 0;
    let faults = 0;
    receiver.respond = ({ subject, data }) => {
      const n = Number(data.doc?.["n"]);
      if (n !== (last[Number(subject)] ?? 0) + 1) faults++;
      last[Number(subject)] = n;
      received++;
      // The receiver keeps what it has accepted, which would be too much here.
      receiver.accepted.length = 0;
      return 200;
    };
    await receiver.open();
    await expect.poll(() => received, PATIENCE).toBeGreaterThan(0);
    const opened = performance.now();
    await expect.poll(() => received, PATIENCE).toBe(CHANGES);
    const seconds = (performance.now() - opened) / 1_000;
    await expect.poll(async () => (await sink())?.spooledMessages, PATIENCE).toBe(0);
    const peak = peakOf(node.pid ?? 0);
    console.log(
      `${CHANGES} changes spooled in ${spooledSeconds.toFixed(0)} s (${(spooledBytes / 1_048_576).toFixed(0)} MiB), sent in ${seconds.toFixed(0)} s (${(CHANGES / seconds).toFixed(0)} per second), the node used ${(peak / 1_024).toFixed(0)} MiB at most`,
    );
    expect(faults).toBe(0);
    expect(last).toEqual(new Array(DOCUMENTS).fill(CHANGES / DOCUMENTS));
    expect((await sink())?.resets).toBe(0);
    expect(peak).toBeLessThan(MEMORY_MAX);
  },
  600_000 + CHANGES * 30,
);
