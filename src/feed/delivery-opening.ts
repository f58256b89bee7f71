/**
 * Chooses how a subscription starts: with a snapshot, with changes only, from the history, from the oplog, or with the
 * difference to another state. Everything that can fail happens here, before the first message, so that a failure is an
 * error of the request and the client keeps what it has.
 */
import type { Start, StartReason } from "../protocol/messages.ts";
import { BEFORE, type Position } from "./cursor.ts";
import type { DeliveryContext } from "./delivery-parts.ts";
import { newCatchUpWork, newSnapshotWork, openHeldSnapshot, type Work } from "./delivery-work.ts";
import type { GrantPoint } from "./grant-diff.ts";
import type { LiveQuery } from "./live-query.ts";
import type { LiveQuerySpec } from "./live-query-spec.ts";

/** How a subscription asks to start. The ticket of its cursor has been checked. */
export interface StartRequest {
  readonly snapshot: boolean;
  readonly resumeFrom: Position | null;
  /** The cursor by which the client knows the position. Without it, the exact cursor of the position is used. */
  readonly cursor?: string;
  /**
   * The live query whose state the client holds, if `%%now` has taken a step since. The changes of that state since
   * then are sent as one difference.
   */
  readonly heldQuery?: LiveQuerySpec;
  /** Why the client's cursor cannot be used, if that is known beforehand. */
  readonly refused: StartReason | null;
}

/** The answer to a `StartRequest`. */
export interface Started {
  readonly start: Start;
  readonly reason: StartReason | undefined;
  /** The cursor that the client receives for the position of the start. */
  readonly cursor: string;
  /** The position of `cursor`. */
  readonly since: Position;
  /**
   * If a difference follows, the cursor at its end. The ticket begins there, and `cursor` is earlier, because no client
   * may resume inside the difference.
   */
  readonly finally?: string;
}

/** How a delivery starts. */
export interface Opening {
  readonly started: Started;
  readonly work: Work;
  /** The client knows everything up to this entry of the history; 0 if the work determines it. */
  readonly after: number;
  /** The position of `after`, if the oplog may be read from there. */
  readonly position?: Position;
  /** Whether the client has missed changes, and may receive them instead of a snapshot. */
  readonly hasMissed: boolean;
}

/**
 * Decides how a subscription starts, and does everything that can fail. Writes nothing.
 * @param isWanted Whether the subscription still exists.
 * @throws {TidewireError} `snapshot-too-large`, `unavailable`, `too-many-subscriptions`
 */
export async function openDelivery(
  context: DeliveryContext,
  request: StartRequest,
  isWanted: () => boolean,
): Promise<Opening> {
  const reading = context.parts.interest.ensure(context.liveQuery.namespace);
  if (reading !== undefined) await reading;
  if (request.refused !== null) return openFresh(context, "reset", request.refused, isWanted);
  if (request.resumeFrom === null)
    return openFresh(context, context.wantsSnapshot ? "snapshot" : "live", undefined, isWanted);
  const { resumeFrom, cursor = context.parts.timeline.codec.encode(resumeFrom), heldQuery } = request;
  const resumed = await openResumed(context, { resumeFrom, cursor, heldQuery, isWanted });
  if ("started" in resumed) return resumed;
  const opening = await openFresh(context, "reset", resumed.refused, isWanted);
  return { ...opening, hasMissed: resumed.hasMissed };
}

/**
 * Like `openDelivery`, but synchronous, for an active subscription. Work that can fail follows later and is retried.
 */
export function reopenDelivery(context: DeliveryContext, reason: StartReason): Opening {
  if (!context.wantsSnapshot) return openChanges(context, "reset", reason);
  const after = context.parts.timeline.headSeq;
  return { started: atHead(context, "reset", reason), work: newSnapshotWork(null), after, hasMissed: false };
}

/**
 * Like `reopenDelivery`, for a client that has the state of another live query as of this very point. Only the
 * difference is sent.
 */
export function openMoved(context: DeliveryContext, from: LiveQuery, at: GrantPoint): Opening {
  const move = { from, to: context.liveQuery, at, held: from.state.visible ?? [] };
  // The cursor is earlier than the change of rights, because no client may resume between that and the end of the
  // difference.
  const started: Started = { start: "moved", reason: undefined, ...around(context, at) };
  return { started, work: { do: "send-move", move }, after: at.seq, hasMissed: false };
}

async function openFresh(
  context: DeliveryContext,
  start: Start,
  reason: StartReason | undefined,
  isWanted: () => boolean,
): Promise<Opening> {
  if (!context.wantsSnapshot) return openChanges(context, start, reason);
  const opened = await openHeldSnapshot(context, isWanted);
  // The subscription has ended, so this answer is not sent.
  if (opened === null)
    return {
      started: atHead(context, start, reason),
      work: newCatchUpWork(),
      after: 0,
      hasMissed: false,
    };
  const { cursor, position } = opened.reading;
  const started: Started = { start, reason, cursor, since: position };
  return { started, work: newSnapshotWork(opened), after: 0, hasMissed: false };
}

/** Opens a delivery without a snapshot, from a position since which nothing is missing. */
function openChanges(
  { parts, liveQuery, rights }: DeliveryContext,
  start: Start,
  reason: StartReason | undefined,
): Opening {
  const { cursor, position, seq } = parts.cursors.startOfChanges(liveQuery, rights.since);
  const started: Started = { start, reason, cursor, since: position };
  return { started, work: newCatchUpWork(), after: seq, hasMissed: false };
}

interface Refused {
  readonly refused: StartReason;
  readonly hasMissed: boolean;
}

interface Resumption {
  readonly resumeFrom: Position;
  readonly cursor: string;
  readonly heldQuery: LiveQuerySpec | undefined;
  readonly isWanted: () => boolean;
}

async function openResumed(
  context: DeliveryContext,
  { resumeFrom: position, cursor, heldQuery, isWanted }: Resumption,
): Promise<Opening | Refused> {
  const { parts, liveQuery, rights } = context;
  const { timeline, catchUps } = parts;
  const refuse = (refused: StartReason, hasMissed = true): Refused => ({ refused, hasMissed });
  const started: Started = { start: "resumed", reason: undefined, cursor, since: position };
  let located = await timeline.locate(position);
  if (typeof located === "object" && rights.isConditional) {
    await prepareTrace(context, position, located.seq);
    // The history may have evicted the entry meanwhile.
    located = await timeline.locate(position);
  }
  if (located === "ahead") return refuse("cursor-invalid", false);
  if (position.clusterTime < rights.grantedAt) return refuse("rights-changed", false);
  const { history } = timeline;
  if (located !== "too-old" && history.holds(liveQuery.namespace, position)) {
    // A client that had lost access must not receive the changes from that period.
    if (!rights.traceBack(position, located.seq, history)) return refuse("rights-changed");
    catchUps.noteFromHistory();
    if (heldQuery === undefined)
      return { started, work: newCatchUpWork(), after: located.seq, position, hasMissed: true };
    return (await openByDifference(context, heldQuery, located.seq)) ?? refuse("history-lost");
  }
  if (heldQuery !== undefined) return refuse("history-lost");
  if (liveQuery.spec.aggregate !== null)
    return (await openByRows(context, position)) ?? refuse("history-lost");
  const work = await readFromOplog(context, position, isWanted);
  if (typeof work === "string") return refuse(work);
  return { started, work, after: 0, hasMissed: true };
}

/**
 * Opens a read of the changes after `position` from the oplog, because the history does not hold them.
 * @throws {TidewireError} `unavailable`
 */
export async function readFromOplog(
  context: DeliveryContext,
  position: Position,
  isWanted: () => boolean,
): Promise<Work | StartReason> {
  const { parts, liveQuery, rights } = context;
  const { timeline, catchUps } = parts;
  const { history } = timeline;
  // The past of a state can only be read while the server keeps it, which is as long as the history.
  if (!liveQuery.state.isStateless) return "history-lost";
  await prepareTrace(context, history.start, history.evictedSeq);
  if (!rights.traceBack(history.start, history.evictedSeq, history)) return "rights-changed";
  // The read ends at a commit of after this point, and the log continues from there, however short the history is.
  const endHold = history.hold();
  const read = await catchUps.openOplog(position, isWanted).catch((error: unknown) => {
    endHold();
    throw error;
  });
  if (read !== null) return { do: "send-oplog", read, endHold };
  endHold();
  return "history-lost";
}

/** Does most of the work of `traceBack` with pauses. Judges also the commits that arrive during a pause. */
async function prepareTrace(
  { parts, rights }: DeliveryContext,
  position: Position,
  seq: number,
): Promise<void> {
  const { history } = parts.timeline;
  const slices = parts.newSlices();
  slices.begin();
  let judgedSeq: number;
  do {
    judgedSeq = history.headSeq;
    await slices.through(rights.prepareTrace(position, seq, history));
  } while (history.headSeq > judgedSeq);
}

/**
 * Opens a delivery for a client that holds the state of another live query at entry `seq`. The client receives the
 * result of the changes since then and not the changes themselves, because it may have had other rights in between.
 */
async function openByDifference(
  context: DeliveryContext,
  heldQuery: LiveQuerySpec,
  seq: number,
): Promise<Opening | null> {
  const { parts, liveQuery, wantsSnapshot } = context;
  while (!parts.timeline.isSettled) await parts.timeline.settles;
  const move = parts.grants.moveSince(heldQuery, liveQuery, seq, wantsSnapshot);
  if (move === null) return null;
  const started: Started = { start: "resumed", reason: undefined, ...around(context, move.at) };
  return { started, work: { do: "send-move", move }, after: move.at.seq, hasMissed: true };
}

/** For a client that holds the rows of an aggregate at a position that the history does not reach. */
async function openByRows(context: DeliveryContext, position: Position): Promise<Opening | null> {
  const { parts, liveQuery, rights, wantsSnapshot } = context;
  // Nobody knows whether the lookups have given the same rights in between.
  if (rights.isConditional) return null;
  const { clusterTime, within } = position;
  while (!parts.timeline.isSettled) await parts.timeline.settles;
  const heldAt = within === BEFORE ? clusterTime - 1n : clusterTime;
  const move = parts.grants.moveSinceTime(liveQuery, heldAt, wantsSnapshot);
  const started: Started = { start: "resumed", reason: undefined, ...around(context, move.at) };
  return { started, work: { do: "send-move", move }, after: move.at.seq, hasMissed: true };
}

function around({ parts }: DeliveryContext, at: GrantPoint): Omit<Started, "start" | "reason"> {
  return { cursor: at.published.before, since: parts.cursors.positionAfter(at), finally: at.published.after };
}

/** The start of a snapshot that is still to be read. Its own cursor is valid only at its end. */
function atHead({ parts }: DeliveryContext, start: Start, reason: StartReason | undefined): Started {
  return { start, reason, cursor: parts.cursors.published.cursor, since: parts.timeline.head };
}
