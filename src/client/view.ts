/**
 * The documents of one live query in the client, and the bookkeeping to resume them exactly. A resumption may repeat
 * changes that the client applied already, and a snapshot may arrive in parts; the application must see neither.
 */
import type {
  AddedMessage,
  ChangedMessage,
  RemovedMessage,
  ResetMessage,
  SnapshotMessage,
} from "../protocol/messages.ts";
import { type Doc, ResultSet, withDelta } from "./result-set.ts";
import type { StatusEvent } from "./status.ts";
import type { Change } from "./types.ts";

/** A message about one document. */
export type ChangeMessage = AddedMessage | ChangedMessage | RemovedMessage;

/** A query of the application that shows a view. */
export interface Watcher {
  changed(change: Change<Doc>): void;
  advance(event: StatusEvent): void;
  /** The service has started the view again, under another ticket. */
  renewed(ticket: string): void;
  /** Something that is worth keeping has changed. */
  moved(): void;
}

/** The reason of another `snapshot`, which replaces void documents. */
type Reason = Extract<Change<Doc>, { type: "snapshot" }>["reason"];

/**
 * The documents that the client has of one live query, and their cursor. Queries of the application with the same live
 * query share it.
 */
export class View {
  readonly watchers = new Set<Watcher>();
  readonly #sorted: boolean;
  #set: ResultSet;
  /** The snapshot that is arriving. The earlier documents stay visible until it is complete. */
  #staging: ResultSet | undefined;
  #reason: Reason;
  #wantsSnapshot: boolean;
  #cursor: string | undefined;
  /** Changes applied after the cursor that a resumption names. They will be sent again. */
  #tail: ChangeMessage[] = [];
  #resumesAt: string | undefined;
  /** Changes that the service is about to repeat, and the cursor from which it continues. */
  #repeats: ChangeMessage[] = [];
  #repeatsFrom: string | undefined;
  /** Whether all data of the start has arrived. */
  isCurrent = false;

  constructor(sorted: boolean, wantsSnapshot: boolean, from?: View) {
    this.#sorted = sorted;
    this.#wantsSnapshot = wantsSnapshot;
    this.#set = new ResultSet(sorted, from === undefined ? undefined : from.#set);
    this.#cursor = from?.cursor;
  }

  get list(): readonly Doc[] {
    return this.#set.list;
  }

  /** The cursor to resume from; `undefined` while a snapshot is arriving, whose cursor is valid only at its end. */
  get cursor(): string | undefined {
    return this.#staging ? undefined : this.#cursor;
  }

  /** Takes the documents that were kept from an earlier page load. */
  restore(docs: readonly Doc[], cursor: string): void {
    for (const doc of docs) this.#set.put(doc, null);
    this.#cursor = cursor;
  }

  /** A resumption from the current cursor was requested, perhaps while an older connection still delivers. */
  resuming(): void {
    this.#resumesAt ??= this.#cursor;
  }

  /** The resumption has failed. */
  resumeFailed(): void {
    this.#resumesAt = undefined;
    this.#tail = this.#tail.filter(({ cursor }) => cursor === this.#cursor);
  }

  /** The service continues from the cursor of `resuming`. Later changes are repeated, and skipped. */
  resumed(): void {
    this.#repeats = this.#tail;
    this.#repeatsFrom = this.#resumesAt;
    this.resumeFailed();
    this.isCurrent = false;
  }

  /** The documents continue as those of another live query. The difference follows. */
  rightsMoved(): void {
    this.#forget();
    this.isCurrent = false;
  }

  /** Changes follow from here on. */
  begin(cursor: string | undefined): void {
    this.#forget();
    this.#cursor = cursor;
    this.isCurrent = true;
  }

  /**
   * A snapshot follows, unless none is wanted.
   * @param cursor Where the changes begin if there is no snapshot.
   */
  startOver(wantsSnapshot: boolean, reason: Reason, cursor?: string): void {
    this.begin(wantsSnapshot ? undefined : cursor);
    this.#wantsSnapshot = wantsSnapshot;
    this.#reason = reason;
    this.isCurrent = !wantsSnapshot;
    const empty = new ResultSet(this.#sorted);
    this.#staging = wantsSnapshot ? empty : undefined;
    if (wantsSnapshot) return;
    this.#set = empty;
    this.#announceSnapshot();
  }

  snapshot({ docs, cursor, last }: SnapshotMessage): void {
    this.#staging ??= new ResultSet(this.#sorted);
    const staging = this.#staging;
    for (const doc of docs) staging.put(this.#known(doc), null);
    if (!last) return;
    if (!staging.equals(this.#set)) this.#set = staging;
    this.#staging = undefined;
    this.#cursor = cursor;
    this.#announceSnapshot();
    this.#caughtUp();
  }

  change(message: ChangeMessage): void {
    if (this.#isRepeat(message)) return;
    if (message.cursor !== this.#cursor && !this.#resumesAt) this.#tail = [];
    this.#tail.push(message);
    const change = applyTo(this.#staging ?? this.#set, message, this.#wantsSnapshot);
    if (this.#staging) return;
    this.#cursor = message.cursor;
    this.#announce(change);
  }

  reset({ reason, ticket }: ResetMessage): void {
    this.startOver(this.#wantsSnapshot, reason);
    for (const watcher of this.watchers) {
      watcher.renewed(ticket);
      watcher.advance(this.isCurrent ? "caught-up" : "reset");
    }
  }

  /** Everything up to this cursor has arrived. */
  watermark(cursor: string): void {
    if (this.#staging) return;
    if (!this.#resumesAt) this.#tail = [];
    this.#repeats = [];
    this.#cursor = cursor;
    this.#caughtUp();
    this.#announce();
  }

  #caughtUp(): void {
    this.isCurrent = true;
    for (const watcher of this.watchers) watcher.advance("caught-up");
  }

  #forget(): void {
    this.#tail = [];
    this.#repeats = [];
    this.#resumesAt = undefined;
  }

  #announceSnapshot(): void {
    const change: Change<Doc> = { type: "snapshot", docs: this.list, reason: this.#reason };
    this.#reason = undefined;
    this.#announce(change);
  }

  /** Documents or cursor have changed. */
  #announce(change?: Change<Doc>): void {
    for (const watcher of this.watchers) {
      if (change) watcher.changed(change);
      watcher.moved();
    }
  }

  /**
   * Whether a message repeats a change that was applied already: the rest of a transaction that was cut off, or changes
   * that an older connection delivered in the meantime. The order is the same on every node.
   */
  #isRepeat(message: ChangeMessage): boolean {
    for (;;) {
      const first = this.#repeats.shift();
      if (!first) return false;
      if (isSame(first, message)) return true;
      // A change with exactly the cursor of the resumption is repeated only from within a transaction.
      if (first.cursor !== this.#repeatsFrom) this.#repeats = [];
    }
  }

  /** Returns the existing object if the document has not changed, so that a page need not redraw it. */
  #known(doc: Doc): Doc {
    const held = this.#set.get(doc["_id"]);
    return held && JSON.stringify(held) === JSON.stringify(doc) ? held : doc;
  }
}

/** Compares two messages without the number of the live query, which differs between connections. */
function isSame(a: ChangeMessage, b: ChangeMessage): boolean {
  return a.cursor === b.cursor && JSON.stringify({ ...a, query: 0 }) === JSON.stringify({ ...b, query: 0 });
}

/**
 * Applies a change.
 * @param isWhole Whether the set is the whole result. Otherwise it may lack the document of the change.
 * @returns The change as the application sees it: a document that exists already is not added again.
 */
function applyTo(set: ResultSet, message: ChangeMessage, isWhole: boolean): Change<Doc> | undefined {
  const { cause, cursor } = message;
  if (message.type === "removed") {
    const { _id } = message;
    const doc = set.remove(_id);
    return !doc && isWhole ? undefined : { type: "removed", _id, doc, cause, cursor };
  }
  const { before } = message;
  const given: Pick<ChangedMessage, "doc" | "_id" | "set" | "unset"> = message;
  const id = given.doc ? given.doc["_id"] : given._id;
  const previous = set.get(id);
  const doc = given.doc ?? withDelta(previous ?? { _id: id }, given.set, given.unset);
  set.put(doc, before);
  const rest = { doc, cause, cursor, ...(before !== undefined && { before }) };
  const isAdded = isWhole ? !previous : message.type === "added";
  return isAdded ? { type: "added", ...rest } : { type: "changed", previous, ...rest };
}
