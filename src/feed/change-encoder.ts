/**
 * Encodes changes as messages of the protocol. Encoding is the largest cost of a delivery, so it is done once per value
 * mode, and in steps for long commits and large documents.
 */
import type { Projection } from "../match/projection-fields.ts";
import type { Steps } from "../match/steps.ts";
import type { DocumentMode, ValueMode } from "../protocol/messages.ts";
import {
  type Change,
  type ChangeForm,
  encodeChange,
  encodeChangeInSteps,
  isLargeChange,
  UNKNOWN,
} from "./change.ts";
import type { EncodedMessage } from "./chunk.ts";
import type { DocumentEncoder } from "./document-encoder.ts";
import type { HistoryEntry } from "./history.ts";
import type { CommitCursors, LogEntry } from "./log-entry.ts";

/** How many changes of one commit are encoded before the event loop runs other work. */
export const CHANGES_STEP = 100;

/** Whether the changes of one commit are encoded in steps, because there are many or one has a large document. */
export const takesSteps = (changes: readonly Change[]): boolean =>
  changes.length > CHANGES_STEP || changes.some(isLargeChange);

/** Encodes the changes of one live query as messages. */
export class ChangeEncoder {
  readonly #projection: Projection;
  readonly #documents: DocumentMode;
  readonly #encoder: DocumentEncoder;

  constructor({ projection, documents }: ChangeForm, encoder: DocumentEncoder) {
    this.#projection = projection;
    this.#documents = documents;
    this.#encoder = encoder;
  }

  /**
   * Appends the messages of an entry, for all followers. The messages are not kept: holding a string for each change of
   * the last minutes, for the few clients that resume, would double the work of the garbage collector.
   */
  encodeLive(entry: LogEntry, mode: ValueMode, messages: EncodedMessage[]): void {
    const { changes } = entry;
    if (changes === UNKNOWN) return;
    const known = entry.encoded?.[mode];
    const [only] = changes;
    if (known === undefined && changes.length === 1 && only !== undefined)
      messages.push(this.#encode(only, true, cursorsOfEntry(entry, changes), mode));
    else for (const message of known ?? this.encodeEntry(entry, mode)) messages.push(message);
  }

  /** Like `encodeLive`, with pauses within a long commit and within a large document. */
  *encodeLiveInSteps(entry: LogEntry, mode: ValueMode, messages: EncodedMessage[]): Generator<void, void> {
    const { changes } = entry;
    if (changes === UNKNOWN) return;
    if (entry.encoded?.[mode] !== undefined || !takesSteps(changes)) {
      this.encodeLive(entry, mode, messages);
      yield;
      return;
    }
    yield* this.#encodeInSteps(changes, cursorsOfEntry(entry, changes), mode, this.#documents, messages);
  }

  /** The messages of an entry. */
  encodeEntry(entry: LogEntry, mode: ValueMode): EncodedMessage[] {
    const { changes } = entry;
    return changes === UNKNOWN ? [] : this.#encodeAll(changes, cursorsOfEntry(entry, changes), mode);
  }

  /** Like `encodeEntry`, in steps. */
  *encodeEntryInSteps(entry: LogEntry, mode: ValueMode): Steps<EncodedMessage[]> {
    const { changes } = entry;
    if (changes === UNKNOWN) return [];
    return yield* this.encodeAllInSteps(changes, cursorsOfEntry(entry, changes), mode);
  }

  /**
   * The messages of one commit. All but the last have a cursor before the commit, because a client must not resume
   * inside it.
   */
  encodeCommit(changes: readonly Change[], at: HistoryEntry, mode: ValueMode): EncodedMessage[] {
    return changes.length === 0 ? [] : this.#encodeAll(changes, cursorsOf(changes, at), mode);
  }

  #encodeAll(changes: readonly Change[], cursors: CommitCursors, mode: ValueMode): EncodedMessage[] {
    const isLast = (index: number) => index === changes.length - 1;
    return changes.map((change, index) => this.#encode(change, isLast(index), cursors, mode));
  }

  /** Like `encodeCommit`, in steps. */
  encodeCommitInSteps(
    changes: readonly Change[],
    at: HistoryEntry,
    mode: ValueMode,
  ): Steps<EncodedMessage[]> {
    return this.encodeAllInSteps(changes, cursorsOf(changes, at), mode);
  }

  /** The messages of changes that belong together, in steps. */
  *encodeAllInSteps(
    changes: readonly Change[],
    cursors: CommitCursors,
    mode: ValueMode,
    documents = this.#documents,
  ): Steps<EncodedMessage[]> {
    const messages: EncodedMessage[] = [];
    yield* this.#encodeInSteps(changes, cursors, mode, documents, messages);
    return messages;
  }

  *#encodeInSteps(
    changes: readonly Change[],
    cursors: CommitCursors,
    mode: ValueMode,
    documents: DocumentMode,
    messages: EncodedMessage[],
  ): Steps<void> {
    const form = { projection: this.#projection, documents };
    for (const [index, change] of changes.entries()) {
      const isLast = index === changes.length - 1;
      const cursor = isLast ? cursors.last : cursors.others;
      const isLarge = isLargeChange(change);
      const text = isLarge
        ? yield* encodeChangeInSteps(change, form, cursor, mode, this.#encoder)
        : encodeChange(change, form, cursor, mode, this.#encoder);
      messages.push({ type: change.type, text, cursor, partial: !isLast });
      if (isLarge || (index + 1) % CHANGES_STEP === 0) yield;
    }
  }

  #encode(change: Change, isLast: boolean, cursors: CommitCursors, mode: ValueMode): EncodedMessage {
    const form = { projection: this.#projection, documents: this.#documents };
    const cursor = isLast ? cursors.last : cursors.others;
    const text = encodeChange(change, form, cursor, mode, this.#encoder);
    return { type: change.type, text, cursor, partial: !isLast };
  }
}

const cursorsOfEntry = ({ cursors, entry }: LogEntry, changes: readonly Change[]): CommitCursors =>
  cursors ?? cursorsOf(changes, entry);

const cursorsOf = (changes: readonly Change[], at: HistoryEntry): CommitCursors => ({
  last: at.cursor,
  others: changes.length > 1 ? at.cursorBefore : "",
});
