/**
 * The steps that bring a client up to date: snapshot, difference, oplog. Each one returns the entry up to which
 * everything was sent, where the catch-up continues.
 */
import { TidewireError } from "../protocol/errors.ts";
import { isMongoFailure } from "../source/mongo.ts";
import { eachChunk } from "./catch-up-chunks.ts";
import { type Change, UNKNOWN } from "./change.ts";
import type { EncodedMessage } from "./chunk.ts";
import { AFTER, type Position } from "./cursor.ts";
import type { DeliveryStep, StepOutcome } from "./delivery-step.ts";
import { openHeldSnapshot, type Work } from "./delivery-work.ts";
import type { GrantMove } from "./grant-diff.ts";
import type { HistoryEntry } from "./history.ts";
import type { OplogPart, OplogRead } from "./oplog-read.ts";
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
  const { timeline } = parts;
  if (!(await step.mayShow(reading.clusterTime))) return "abandoned";
  for (let index = 0; ; index++) {
    const batch = await reading.batch(index, account).catch((error: unknown) => {
      // A client that leaves ends the read itself.
      if (!step.isCurrent()) return "failed" as const;
      if (error instanceof TidewireError) throw error;
      parts.snapshots.noteBroken(error);
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
  const { parts, sink, account } = step.context;
  const giveBack = await sink.snapshotTurn();
  try {
    if (!step.isCurrent()) return "abandoned";
    const difference = await parts.grants.read(move, account, step.isCurrent);
    if (difference === null) return step.isCurrent() ? "history-lost" : "abandoned";
    try {
      return await sendChanges(step, move, difference.changes);
    } finally {
      difference.release();
    }
  } finally {
    giveBack();
  }
}

async function sendChanges(
  step: DeliveryStep,
  move: GrantMove,
  changes: readonly Change[],
): Promise<StepOutcome> {
  const { liveQuery, sink } = step.context;
  if (!step.isCurrent()) return "abandoned";
  const { after: last, before: others } = move.at.published;
  // The client may have received a later state than the one before the difference, and a delta would not fit that state.
  const documents = move.missed === undefined ? undefined : "full";
  const chunks = await liveQuery.grantChunks(changes, { last, others }, sink.mode, documents);
  if (!step.isCurrent()) return "abandoned";
  for (const chunk of chunks) {
    if (!(await step.write(chunk)) || !step.isCurrent()) return "abandoned";
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
  const { timeline } = step.context.parts;
  const { namespace } = step.context.liveQuery;
  for await (const part of read.batches()) {
    if (!step.isCurrent()) return "abandoned";
    const { until } = part.batch;
    const outcome = await copyPart(step, read, part);
    if (typeof outcome === "string") {
      if (outcome !== "done") return outcome;
    } else {
      // Many slow clients must not keep a batch each. The function that had it has returned.
      if (!(await step.context.sink.room(outcome.lacksRoomFor))) return "abandoned";
      continue;
    }
    const located = await step.untilAvailable(() => timeline.locate(until));
    if (located === null || !step.isCurrent()) return "abandoned";
    // All commits of that cluster time have been read, whichever of them the position names.
    const readThrough = { ...until, within: AFTER };
    if (typeof located === "string" || !timeline.history.holds(namespace, readThrough)) continue;
    return { after: located.seq, position: until };
  }
  return "history-lost";
}

/**
 * Sends the changes of one batch.
 * @returns The bytes for which the client has no room, if it takes no more. The batch was put back then.
 */
async function copyPart(
  step: DeliveryStep,
  read: OplogRead,
  part: OplogPart,
): Promise<StepOutcome | { readonly lacksRoomFor: number }> {
  const { parts, liveQuery, sink, rights } = step.context;
  const { batch, covered } = part;
  // Other clients read the same batch, and this one has received its first entries already.
  const fresh = batch.entries.slice(covered);
  const slices = parts.newSlices();
  slices.begin();
  if (rights.isConditional) await slices.through(rights.prepareInSteps(fresh));
  // These commits may have changed the rights of this client, and the oplog has no record of that. A reset checks them.
  if (fresh.some(({ commit }) => rights.mayChangeBy(commit.events))) return "history-lost";
  const encoded = await liveQuery.encodeOplogBatch(batch, sink.mode);
  if (!step.isCurrent()) return "abandoned";
  const messages: EncodedMessage[] = [];
  /** The entries by the number of messages up to their end. */
  const ends = new Map<number, HistoryEntry | undefined>([[0, undefined]]);
  for (const { index, messages: more } of encoded) {
    if (index < covered) continue;
    if (more === UNKNOWN) return "history-lost";
    // Not by `push(...more)`: a commit may have more changes than a call may have arguments.
    for (const message of more) messages.push(message);
    ends.set(messages.length, batch.entries[index]);
  }
  const last = fresh.at(-1)?.commit.clusterTime;
  if (last !== undefined && !(await step.mayShow(last))) return "abandoned";
  let written = 0;
  for (const chunk of eachChunk(messages)) {
    if (slices.isOver()) await slices.pause();
    if (!step.isCurrent()) return "abandoned";
    // The oplog is read again from the end of an entry only, because no change may be sent twice.
    if (ends.has(written)) {
      const outcome = await step.offer(chunk, last);
      if (outcome === "ended") return "abandoned";
      if (outcome === "no-room") {
        read.putBack(part, ends.get(written)?.position ?? null);
        return { lacksRoomFor: chunk.size };
      }
    } else if (!(await step.write(chunk, last)) || !step.isCurrent()) return "abandoned";
    written += chunk.messages.length;
  }
  return "done";
}
