/** Follows the live query of a sink, by a connection inside the process. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import type { GatewayContext } from "../gateway/context.ts";
import type { Gateway } from "../gateway/gateway.ts";
import { CLOSE_CODES } from "../protocol/close-codes.ts";
import type { ServerMessage, SubscribedMessage } from "../protocol/messages.ts";
import type { SinkOptions } from "./options.ts";
import type { SentRows } from "./sent-rows.ts";
import { identityOf, sinkContext } from "./sink-context.ts";
import type { SinkPosition } from "./sink-documents.ts";
import { MessageMaker } from "./sink-message.ts";
import type { SinkRun } from "./sink-run.ts";
import type { ResetReason } from "./sink-run-parts.ts";
import { type SinkInput, SinkTransport } from "./sink-transport.ts";
import type { SinkMessage } from "./target.ts";

/** The parts that a follower works with. */
export interface SinkFollowerParts {
  readonly name: string;
  readonly options: SinkOptions;
  readonly gateway: Pick<Gateway, "openInside">;
  readonly context: GatewayContext;
  readonly run: Pick<
    SinkRun,
    "take" | "note" | "position" | "allow" | "hasWaiting" | "beginDifference" | "endDifference"
  >;
  /** The rows that the receiver may have; `null` unless the sink sends rows of an aggregate. */
  readonly rows: SentRows | null;
  /** The position cannot be continued: changes may be missing. */
  readonly onReset: (reason: ResetReason) => void;
  /** Why the live query cannot be followed at the moment; `null` when it is followed. */
  readonly onTrouble: (trouble: string | null) => void;
  readonly log: Logger;
}

/** The id of the only subscription of a sink's connection. */
const ID = "sink";
const RETRY_FIRST_MS = 200;
const RETRY_MAX_MS = 30_000;
/**
 * A position counts as lost after this many connections in a row that were reset where they began. The service accepts such
 * a position, and finds then that it cannot judge a commit after it, which every further attempt would reach as well.
 */
const LOST_AFTER = 2;

/** Connects and follows until `signal` aborts. A connection that ends is replaced by one that resumes. */
export async function followSink(parts: SinkFollowerParts, signal: AbortSignal): Promise<void> {
  const { timeline } = parts.context.feed;
  const { run } = parts;
  let resets = 0;
  for (let failures = 0; !signal.aborted; ) {
    if (!timeline.isReady) {
      await unlessAborted(timeline.advances.next(), signal);
      continue;
    }
    const from = run.position?.cursor;
    const following = new Following(parts, resets >= LOST_AFTER);
    await following.run(signal);
    const { wasFollowing, wasReset } = following;
    if (wasFollowing)
      resets = wasReset && from !== undefined && run.position?.cursor === from ? resets + 1 : 0;
    failures = wasFollowing ? 1 : failures + 1;
    const pauseMs = Math.min(RETRY_FIRST_MS * 2 ** (failures - 1), RETRY_MAX_MS);
    await sleep(pauseMs * (0.75 + Math.random() / 2), undefined, { signal }).catch(() => {}); // rejects on abort
  }
}

/** Waits for `event` or the abort. Leaves no listener behind, because a stream that is down may advance often without being ready. */
async function unlessAborted(event: Promise<unknown>, signal: AbortSignal): Promise<void> {
  let end = () => {};
  const aborted = new Promise<void>((resolve) => {
    end = resolve;
    if (signal.aborted) end();
    else signal.addEventListener("abort", end);
  });
  try {
    await Promise.race([event, aborted]);
  } finally {
    signal.removeEventListener("abort", end);
  }
}

/** One connection. */
class Following {
  readonly #parts: SinkFollowerParts;
  readonly #maker: MessageMaker;
  readonly #transport = new SinkTransport();
  /** The cursor of the request; `null` without one. */
  #asked: string | null = null;
  /** Valid for the cursors from here on. */
  #ticket = "";
  /** A snapshot is on its way, whose documents do not form a result before its end. */
  #awaitsSnapshot = false;
  /** The documents that became visible or invisible are on their way. */
  #awaitsDifference = false;
  /** The rows of a snapshot that is on its way. */
  readonly #inSnapshot = new Set<string>();
  readonly #isLost: boolean;
  #isFollowing = false;
  #wasReset = false;

  /** @param isLost The position cannot be continued, although the service accepts it. */
  constructor(parts: SinkFollowerParts, isLost: boolean) {
    const { name, options, context } = parts;
    this.#parts = parts;
    this.#isLost = isLost;
    this.#maker = new MessageMaker({
      sink: name,
      collection: options.collection,
      isAggregate: options.aggregate !== undefined,
      timeOf: (cursor) => timeOf(context, cursor),
    });
  }

  /** Whether the live query was followed before the connection ended. */
  get wasFollowing(): boolean {
    return this.#isFollowing;
  }

  /** Whether the connection ended because the service does not know all changes. */
  get wasReset(): boolean {
    return this.#wasReset;
  }

  /** Settles when the connection has ended. */
  async run(signal: AbortSignal): Promise<void> {
    const { name, options, gateway, context } = this.#parts;
    const own = sinkContext(context, options);
    const nowMs = Date.now();
    const { connection, inbox } = gateway.openInside(this.#transport, `sink ${name}`, own, nowMs);
    const end = () => connection.terminate(CLOSE_CODES.serviceRestart);
    signal.addEventListener("abort", end, { once: true });
    try {
      await inbox.authenticateByRequest(async () => identityOf(options), options.values);
      inbox.receive({ fields: this.#request(), bytes: 0 }, nowMs);
      for (let input = await this.#transport.next(); input !== null; input = await this.#transport.next())
        if (!signal.aborted && !(await this.#handle(input))) break;
    } finally {
      signal.removeEventListener("abort", end);
      if (!signal.aborted) this.#parts.run.allow(false);
      end();
    }
  }

  #request(): Record<string, unknown> {
    const { options, run, rows } = this.#parts;
    const { collection, snapshot } = options;
    // Changes that cancel each other would not arrive, and the receiver may have got some of them.
    const position = rows === null && !this.#isLost ? run.position : null;
    this.#asked = position?.cursor ?? null;
    return { type: "subscribe", id: ID, collection, snapshot, ...position };
  }

  /** @returns Whether to go on with this connection. */
  async #handle(input: SinkInput): Promise<boolean> {
    if (input.kind === "message") return this.#handleMessage(input.message);
    const { run, rows } = this.#parts;
    const messages = this.#maker.make(input.text);
    const position = input.resumeFrom === null ? null : { cursor: input.resumeFrom, ticket: this.#ticket };
    // A position after the difference would promise that no message waits any more that says what the rights forbid.
    const isDifference = this.#awaitsDifference && position !== null;
    // Not by `push(...gone)`: an aggregate has almost as many rows as a call may have arguments.
    if (rows !== null && this.#awaitsSnapshot)
      for (const gone of this.#goneRows(rows, messages, position)) messages.push(gone);
    await rows?.note(messages);
    const last = messages.pop();
    for (const message of messages) await run.take(message, null);
    if (last !== undefined) await run.take(last, isDifference ? null : position);
    if (isDifference) await this.#endDifference();
    if (position !== null && (isDifference || last === undefined)) run.note(position);
    if (position !== null) this.#awaitsSnapshot = false;
    return true;
  }

  /** The messages that remove rows of which the complete snapshot has none. */
  #goneRows(rows: SentRows, messages: readonly SinkMessage[], position: SinkPosition | null): SinkMessage[] {
    for (const { key } of messages) this.#inSnapshot.add(key);
    if (position === null) return [];
    const { cursor } = position;
    const gone = rows.others(this.#inSnapshot);
    this.#inSnapshot.clear();
    return gone.flatMap((key) =>
      this.#maker.make(JSON.stringify({ type: "removed", cursor, cause: "snapshot", _id: JSON.parse(key) })),
    );
  }

  async #endDifference(): Promise<void> {
    this.#awaitsDifference = false;
    await this.#parts.run.endDifference();
  }

  async #handleMessage(message: ServerMessage): Promise<boolean> {
    const { run, onTrouble } = this.#parts;
    switch (message.type) {
      case "subscribed":
        await this.#subscribed(message);
        return true;
      case "watermark":
        if (this.#awaitsSnapshot || !this.#isFollowing) return true;
        if (this.#awaitsDifference) await this.#endDifference();
        run.note({ cursor: message.cursor, ticket: this.#ticket });
        return true;
      case "tickets":
        this.#ticket = message.tickets[ID] ?? this.#ticket;
        return true;
      case "reset":
        // The saved position may still be good, if the sink was only too slow. The answer to it decides.
        this.#wasReset = message.reason === "history-lost";
        return false;
      case "unsubscribed":
        onTrouble(`the rules end the subscription: ${message.reason}`);
        return false;
      case "error":
        onTrouble(`${message.code}: ${message.message}`);
        return false;
      default:
        return true;
    }
  }

  async #subscribed({ start, reason, cursor, ticket }: SubscribedMessage): Promise<void> {
    const { run, options, rows, onReset, onTrouble, log } = this.#parts;
    this.#ticket = ticket;
    const isWhole = rows !== null && start !== "moved";
    // A sink without a snapshot reports no difference between old and new rights, so the target misses nothing.
    const isEdit = this.#isFollowing && reason === "rights-changed" && !options.snapshot && !run.hasWaiting;
    this.#isFollowing = true;
    onTrouble(null);
    // With another cursor than the one that was asked for, `%%now` has taken a step since, and a difference follows.
    const isMove = start === "moved" || (start === "resumed" && cursor !== this.#asked);
    // Without a snapshot, the difference does not name every document that waits.
    const mustDrop = isMove && !options.snapshot && run.hasWaiting;
    // All rows replace whatever the receiver has, and whatever waits for it, as a difference does.
    if (isWhole || (isMove && !mustDrop)) run.beginDifference();
    else if (mustDrop) onReset("rights-changed");
    else if (start === "reset" && isEdit) {
      run.beginDifference();
      log.info("the rights of the sink have changed; it goes on under the new ones");
    } else if (start === "reset" || this.#isLost) onReset(reason ?? "history-lost");
    // The former connection has ended within the snapshot, and the rules may show less now.
    else if (start === "snapshot" && options.as !== undefined && run.hasWaiting)
      onReset("snapshot-interrupted");
    this.#awaitsDifference = isMove || isWhole;
    this.#inSnapshot.clear();
    // A connection may have ended within a difference, and the rights may be the former ones again.
    if (!isMove && !isWhole) await run.endDifference();
    run.allow(true);
    this.#awaitsSnapshot = start === "snapshot" || (start === "reset" && options.snapshot);
    // Before the end of a difference there is no position from which a sink could resume.
    if (!isMove && !this.#awaitsSnapshot) run.note({ cursor, ticket });
  }
}

/** The cluster time of a cursor is a time in whole seconds, and the same on every node. */
function timeOf({ feed }: GatewayContext, cursor: string): number | null {
  const position = feed.timeline.codec.decode(cursor);
  return typeof position === "string" ? null : Number(position.clusterTime >> 32n) * 1_000;
}
