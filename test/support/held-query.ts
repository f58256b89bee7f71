/** A client's result of one live query, and the rules by which messages may change it. */
import type { Position } from "../../src/feed/cursor.ts";
import { AFTER, BEFORE } from "../../src/feed/cursor.ts";
import type {
  AddedMessage,
  ChangedMessage,
  RemovedMessage,
  ServerMessage,
  SnapshotMessage,
  ValueMode,
} from "../../src/protocol/messages.ts";
import type { Result } from "./oracle.ts";

export type ChangeMessage = AddedMessage | ChangedMessage | RemovedMessage;

/** A message came that the protocol does not allow here. */
export class ProtocolFault extends Error {
  override readonly name = "ProtocolFault";
}

const textOfId = (id: unknown) => JSON.stringify(id);

/**
 * The documents of one live query as the messages make them. Strict: `added` must be new, `changed` and
 * `removed` known, a `changed` must change something, cursors must not go back, and nothing comes twice. The
 * changes of a transaction take effect together, so that a connection lost inside one leaves nothing half done.
 */
export class HeldQuery {
  readonly mode: ValueMode;
  readonly documents = new Map<string, string>();
  /** The ids in the order of a sorted query; of any other nobody promises one. */
  order: string[] = [];
  readonly #isSorted: boolean;
  /** Resumes after everything that is held. */
  cursor = "";
  ticket = "";
  /** `following` is the one in which the documents are those of the cursor. */
  phase: "snapshot" | "base" | "following" | "unknown" = "snapshot";
  changes = 0;
  /** Every change as it took effect, in order. */
  onChange: (message: ChangeMessage, before: string | undefined) => void = () => {};
  readonly #decode: (cursor: string) => Position;
  #snapshotCursor: string | undefined;
  #transaction: ChangeMessage[] = [];
  #beforeBase: ServerMessage[] = [];
  /** The cursor that all but the last change of a difference bear, while one is expected. */
  #difference: string | undefined;

  constructor(mode: ValueMode, decode: (cursor: string) => Position, isSorted = false) {
    this.mode = mode;
    this.#isSorted = isSorted;
    this.#decode = decode;
  }

  get isInTransaction(): boolean {
    return this.#transaction.length > 0;
  }

  /** A snapshot comes: what is held is void. */
  expectSnapshot(cursor?: string): void {
    this.#void();
    this.phase = "snapshot";
    this.#snapshotCursor = cursor;
  }

  /** No snapshot comes: changes follow from `cursor` on, and only somebody else knows to what. */
  expectBase(cursor: string, base: Promise<Result | null>): void {
    this.#void();
    this.phase = "base";
    this.cursor = cursor;
    void base.then((result) => {
      if (this.phase !== "base" || this.cursor !== cursor) return;
      if (result === null) {
        this.phase = "unknown";
        return;
      }
      for (const [id, text] of result) this.documents.set(id, text);
      this.phase = "following";
      for (const message of this.#beforeBase.splice(0)) this.take(message);
    });
  }

  /** [3.3, moved] What is held is that of another query from now on; the difference follows, if there is one. */
  expectDifference(cursor: string): void {
    if (this.phase !== "following") return;
    this.#difference = cursor;
    this.cursor = cursor;
  }

  /** Goes on from the state of another one. */
  takeOver(other: HeldQuery): void {
    for (const [id, text] of other.documents) this.documents.set(id, text);
    this.order = [...other.order];
    this.cursor = other.cursor;
    this.phase = other.phase;
  }

  /** The connection is lost, and with it what had not taken effect yet. */
  disconnected(): void {
    this.#transaction = [];
    // Between two states that can be resumed: what is held is not that of the new ticket yet.
    if (this.phase === "base" || this.#difference !== undefined) this.phase = "unknown";
    this.#difference = undefined;
    this.#beforeBase = [];
  }

  /** @throws {ProtocolFault} */
  take(message: ServerMessage): void {
    if (this.phase === "unknown") return;
    if (this.phase === "base") {
      this.#beforeBase.push(message);
      return;
    }
    if (message.type === "snapshot") this.#takeSnapshot(message);
    else if (message.type === "watermark") this.#takeWatermark(message.cursor);
    else if (message.type === "added" || message.type === "changed" || message.type === "removed") {
      this.#takeChange(message);
    }
  }

  #void(): void {
    this.documents.clear();
    this.order = [];
    this.#difference = undefined;
    this.#transaction = [];
    this.#beforeBase = [];
    this.cursor = "";
  }

  #takeSnapshot({ docs, cursor, last }: SnapshotMessage): void {
    this.#must(this.phase === "snapshot", "a snapshot that nobody expects");
    this.#must((this.#snapshotCursor ?? cursor) === cursor, "batches of one snapshot with different cursors");
    this.#snapshotCursor = cursor;
    for (const doc of docs) {
      const id = textOfId(doc["_id"]);
      this.#must(!this.documents.has(id), `twice in one snapshot: ${id}`);
      this.documents.set(id, JSON.stringify(doc));
      this.order.push(id);
    }
    if (!last) return;
    this.phase = "following";
    this.cursor = cursor;
  }

  #takeWatermark(cursor: string): void {
    this.#must(this.phase === "following", "a watermark before the end of the snapshot");
    this.#must(!this.isInTransaction, "a watermark inside a transaction");
    const held = this.#decode(this.cursor);
    const next = this.#decode(cursor);
    this.#must(next.clusterTime >= held.clusterTime, "a watermark that goes back");
    this.cursor = cursor;
    this.#difference = undefined;
  }

  #takeChange(message: ChangeMessage): void {
    this.#must(this.phase === "following", `${message.type} before the end of the snapshot`);
    if (message.cursor === this.#difference) {
      this.#transaction.push(message);
      return;
    }
    this.#difference = undefined; // the last of it, or there was none
    const held = this.#decode(this.cursor);
    const next = this.#decode(message.cursor);
    const isLater =
      next.clusterTime > held.clusterTime ||
      (next.clusterTime === held.clusterTime && held.within !== AFTER && isAfter(next, held)) ||
      wasToldLater(next, held);
    this.#must(isLater, `${message.type} that the cursor already covers (${text(held)}, then ${text(next)})`);
    this.#transaction.push(message);
    // All but the last change of a transaction bear a cursor before it.
    if (next.within === BEFORE) return;
    const changes = this.#transaction;
    this.#transaction = [];
    for (const change of changes) this.#apply(change);
    this.cursor = message.cursor;
  }

  #apply(message: ChangeMessage): void {
    const id = textOfId(idOf(message));
    const before = this.documents.get(id);
    this.changes++;
    if (message.type === "removed") {
      this.#must(this.documents.delete(id), `removed, but not held: ${id}`);
      this.order.splice(this.order.indexOf(id), 1);
    } else if (message.type === "added") {
      this.#must(before === undefined, `added, but held: ${id}`);
      this.documents.set(id, JSON.stringify(message.doc));
      this.#place(id, message.before);
    } else {
      this.#must(before !== undefined, `changed, but not held: ${id}`);
      const after = JSON.stringify(message.doc ?? applyDelta(before ?? "", message));
      // In a sorted query it may only have moved.
      this.#must(before !== after || message.before !== undefined, `changed, but the same: ${after}`);
      this.documents.set(id, after);
      if (message.before !== undefined) {
        this.order.splice(this.order.indexOf(id), 1);
        this.#place(id, message.before);
      }
    }
    this.onChange(message, before);
  }

  #place(id: string, before: unknown): void {
    if (!this.#isSorted || before === null) {
      this.order.push(id);
      return;
    }
    const next = this.order.indexOf(textOfId(before));
    this.#must(next >= 0, `placed before one that is not held: ${JSON.stringify(before)}`);
    this.order.splice(next, 0, id);
  }

  #must(holds: boolean, what: string): void {
    if (!holds) throw new ProtocolFault(what);
  }
}

const text = ({ clusterTime, within }: Position) =>
  `${clusterTime >> 32n}.${clusterTime & 0xffff_ffffn}/${within}`;

/** Of positions of one cluster time; `BEFORE` comes again for each change of a transaction. */
const isAfter = (next: Position, held: Position) =>
  next.within === BEFORE ? held.within === BEFORE : next.within !== held.within;

/** Two random texts of one position differ in when they were made: a change of rights lies between them. */
const wasToldLater = (next: Position, held: Position) =>
  next.clusterTime === held.clusterTime &&
  next.within === held.within &&
  next.issuedMs !== undefined &&
  held.issuedMs !== undefined &&
  next.issuedMs > held.issuedMs;

function idOf(message: ChangeMessage): unknown {
  if (message.type === "removed") return message._id;
  return message.type === "changed" && message.doc === undefined ? message._id : message.doc?.["_id"];
}

/** [3.2, delta] `set` and `unset` by dotted path, as a client does it. */
function applyDelta(before: string, { set, unset }: ChangedMessage): unknown {
  const document: unknown = JSON.parse(before);
  const parentOf = (path: string): [Record<string, unknown>, string] => {
    const parts = path.split(".");
    const last = parts.pop() ?? "";
    let parent = document as Record<string, unknown>; // a document is an object
    for (const part of parts) {
      parent[part] ??= {};
      parent = parent[part] as Record<string, unknown>; // the service sends paths through objects only
    }
    return [parent, last];
  };
  for (const path of unset ?? []) {
    const [parent, name] = parentOf(path);
    delete parent[name];
  }
  for (const [path, value] of Object.entries(set ?? {})) {
    const [parent, name] = parentOf(path);
    parent[name] = value;
  }
  return document;
}
