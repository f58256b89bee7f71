/**
 * The steps that bring a client up to date: snapshot, difference, oplog. Each one returns the entry up to which
 * everything was sent, where the catch-up continues.
 */
import { TidewireError } from "../protocol/errors.ts";
import { isMongoFailure } from "../source/mongo.ts";
import { toChunks } from "./catch-up-chunks.ts";
import { UNKNOWN } from "./change.ts";
import type { EncodedMessage } from "./chunk.ts";
import { AFTER, type Position } from "./cursor.ts";
import type { DeliveryStep, StepOutcome } from "./delivery-step.ts";
import { openHeldSnapshot, type Work } from "./delivery-work.ts";
import type { GrantMove } from "./grant-diff.ts";
import type { OplogRead } from "./oplog-read.ts";
import type { PastRequest } from "./past.ts";
import type { SnapshotReading } from "./snapshot-reading.ts";
import { isTooSlow } from "./too-slow.ts";

/** A step that ended. Everything up to entry `after` has been sent. */
export interface Sent {
  readonly after: number;
  /** The position of `after`, if it is known. */
  readonly position: Position | null;
}

/** Sends a snapshot. After a reset the snapshot is opened here, and retried until MongoDB answers. */
export async function sendSnapshot(
  step: DeliveryStep,
  work: Extract<Work, { do: "send-snapshot" }>,
): Promise<Sent | StepOutcome> {
  if (work.opened === null) {
    const opened = await step.untilAvailable(() => openHeldSnapshot(step.context, step.isCurrent));
    if (opened === null) return "abandoned";
    if (!step.isCurrent()) {
      opened.leave();
      return "abandoned";
    }
    work.opened = opened;
  }
  return sendReading(step, work.opened.reading);
}

async function sendReading(step: DeliveryStep, reading: SnapshotReading): Promise<Sent | StepOutcome> {
  const { sink, parts, account } = step.context;
  const { timeline, log } = parts;
  if (!(await step.mayShow(reading.clusterTime))) return "abandoned";
  for (let index = 0; ; index++) {
    const batch = await reading.batch(index, account).catch((error: unknown) => {
      if (error instanceof TidewireError) throw error;
      log.warn({ err: error }, "a snapshot could not be read to its end; it is read again");
      return "failed" as const;
    });
    if (!step.isCurrent()) return "abandoned";
    if (batch === "overtaken") return "lagged";
    if (batch === "failed") return "history-lost";
    if (batch === null) break;
    if (sink.compression !== null) {
      await reading.compress(batch, sink.compression);
      if (!step.isCurrent()) return "abandoned";
    }
    if (!(await step.write(batch, reading.clusterTime))) return "abandoned";
  }
  // Commits up to the time of the snapshot are contained in it.
  if (!(await step.streamReaches(reading.clusterTime))) return "abandoned";
  const seq = timeline.history.seqAt(reading.clusterTime);
  return seq === null ? "lost" : { after: seq, position: null };
}

/**
 * Makes the log of the live query reach back to entry `seq`. If that takes a read, it waits and is charged like a
 * snapshot.
 * @returns `false` if the changes since then are no longer available, or the step is no longer current.
 */
export async function extendLog(step: DeliveryStep, seq: number): Promise<boolean> {
  const { liveQuery, parts, sink, account } = step.context;
  const charge = () => parts.windows.chargeReading(account);
  const request: PastRequest = {
    payer: account,
    isWanted: step.isCurrent,
    read: (turn, at) => parts.pasts.read(liveQuery, at, { turn, charge }),
  };
  if (liveQuery.state.isStateless) return liveQuery.extend(seq, request);
  const extend = async () => {
    const giveBack = await sink.snapshotTurn();
    try {
      return step.isCurrent() && (await liveQuery.extend(seq, request));
    } catch (error) {
      if (!isMongoFailure(error)) throw error;
      // Documents that the result lacked on the way to the present could not be read. A reset begins at the present.
      parts.catchUps.noteFailed(error);
      return false;
    } finally {
      giveBack();
    }
  };
  // A read that MongoDB gave up would take as long again, so the subscription ends.
  const isExtended = await step.untilAvailable(extend, isTooSlow);
  if (isExtended !== true || !step.isCurrent()) return false;
  parts.windows.admitWindow(liveQuery, account);
  return true;
}

/** Sends the documents that a change of rights made visible, and removes those that it made invisible. */
export async function sendMove(step: DeliveryStep, move: GrantMove): Promise<StepOutcome> {
  const { parts, liveQuery, sink, account } = step.context;
  const giveBack = await sink.snapshotTurn();
  try {
    if (!step.isCurrent()) return "abandoned";
    const changes = await parts.grants.read(move, account, step.isCurrent);
    if (!step.isCurrent()) return "abandoned";
    if (changes === null) return "history-lost";
    const { after: last, before: others } = move.at.published;
    // The client may have received a later state than the one before the difference, and a delta would not fit that
    // state.
    const documents = move.missed === undefined ? undefined : "full";
    const chunks = await liveQuery.grantChunks(changes, { last, others }, sink.mode, documents);
    if (!step.isCurrent()) return "abandoned";
    for (const chunk of chunks) {
      if (!(await step.write(chunk)) || !step.isCurrent()) return "abandoned";
    }
  } finally {
    giveBack();
  }
  return "done";
}

/** Sends the missed commits that the history no longer contains, up to an entry that it contains. */
export async function sendFromOplog(step: DeliveryStep, read: OplogRead): Promise<Sent | StepOutcome> {
  // Whatever happened to MongoDB, the subscription stays. A snapshot follows, which waits for MongoDB.
  return copyFromOplog(step, read).catch((error: unknown) => {
    step.context.parts.catchUps.noteFailed(error);
    return "history-lost" as const;
  });
}

async function copyFromOplog(step: DeliveryStep, read: OplogRead): Promise<Sent | StepOutcome> {
  const { parts, liveQuery, sink, rights } = step.context;
  const { timeline } = parts;
  for await (const { batch, covered } of read.batches()) {
    if (!step.isCurrent()) return "abandoned";
    // Other clients read the same batch, and this one has received its first entries already.
    const fresh = batch.entries.slice(covered);
    const slices = parts.newSlices();
    slices.begin();
    if (rights.isConditional) await slices.through(rights.prepareInSteps(fresh));
    // These commits may have changed the rights of this client, and the oplog has no record of that. A reset checks
    // them.
    if (fresh.some(({ commit }) => rights.mayChangeBy(commit.events))) return "history-lost";
    const encoded = await liveQuery.encodeOplogBatch(batch, sink.mode);
    if (!step.isCurrent()) return "abandoned";
    const messages: EncodedMessage[] = [];
    for (const { index, messages: more } of encoded) {
      if (index < covered) continue;
      if (more === UNKNOWN) return "history-lost";
      // Not by `push(...more)`: a commit may have more changes than a call may have arguments.
      for (const message of more) messages.push(message);
    }
    const last = fresh.at(-1)?.commit.clusterTime;
    if (last !== undefined && !(await step.mayShow(last))) return "abandoned";
    for (const chunk of await slices.through(toChunks(messages))) {
      if (!(await step.write(chunk, last)) || !step.isCurrent()) return "abandoned";
    }
    const located = await step.untilAvailable(() => timeline.locate(batch.until));
    if (located === null || !step.isCurrent()) return "abandoned";
    // All commits of that cluster time have been read, whichever of them the position names.
    const readThrough = { ...batch.until, within: AFTER };
    if (typeof located === "string" || !timeline.history.holds(liveQuery.namespace, readThrough)) continue;
    return { after: located.seq, position: batch.until };
  }
  return "history-lost";
}
