import { z } from "zod";
import type { ServerMessage } from "../../protocol/messages.ts";
import type { FollowEnd, FollowState } from "../../terminal/followed-query.ts";
import { endText, stateText, TailWriter } from "../tail-text.ts";

/** A longer document is named by its `_id` only. In characters of JSON. */
const DOCUMENT_MAX = 8_192;
/** An outage repeats its notes. */
const NOTES_MAX = 20;

/** One document of the snapshot, or one change. */
export const Change = z.object({
  change: z
    .enum(["snapshot", "added", "changed", "removed", "reset"])
    .describe("reset: all before it is void."),
  cause: z
    .string()
    .optional()
    .describe("The write, such as insert or update, or why the right to see it changed."),
  document: z
    .record(z.string(), z.unknown())
    .optional()
    .describe(
      "The document; for removed, its _id alone. A document that is too long is also reduced to its _id.",
    ),
  omitted: z.string().optional().describe("Why only the _id of the document is here."),
});
type Change = z.output<typeof Change>;

/** The messages of a followed query as changes and lines, up to a limit. */
export class TailRecord {
  readonly changes: Change[] = [];
  /** The same, as `tidewire tail` prints it. */
  readonly lines: string[] = [];
  readonly notes: string[] = [];
  readonly #limit: number;
  readonly #url: string;
  readonly #writer = new TailWriter(false);
  #wasConnected = false;

  /** @param limit The most changes. @param url The service, for notes. */
  constructor(limit: number, url: string) {
    this.#limit = limit;
    this.#url = url;
  }

  get isFull(): boolean {
    return this.changes.length >= this.#limit;
  }

  get wasConnected(): boolean {
    return this.#wasConnected;
  }

  message(message: ServerMessage): void {
    const { out = [], note } = this.#writer.message(message);
    for (const [index, change] of changesOf(message).entries()) {
      if (this.isFull) return;
      const short = withinLimit(change);
      this.changes.push(short);
      const line = out[index];
      if (line !== undefined) this.lines.push(short.omitted === undefined ? line : lineOf(short));
    }
    if (note !== undefined) this.#note(note);
  }

  state(state: FollowState): void {
    if (state.is === "connected") this.#wasConnected = true;
    this.#note(stateText(state, this.#url));
  }

  end(end: FollowEnd): void {
    const text = endText(end);
    if (text !== undefined) this.#note(text);
  }

  #note(text: string): void {
    if (this.notes.length < NOTES_MAX && this.notes.at(-1) !== text) this.notes.push(text);
  }
}

function changesOf(message: ServerMessage): readonly Change[] {
  switch (message.type) {
    case "snapshot":
      return message.docs.map((document) => ({ change: "snapshot", document }));
    case "added":
      return [{ change: "added", cause: message.cause, document: message.doc }];
    case "changed":
      return [{ change: "changed", cause: message.cause, document: message.doc ?? { _id: message._id } }];
    case "removed":
      return [{ change: "removed", cause: message.cause, document: { _id: message._id } }];
    case "reset":
      return [{ change: "reset" }];
    default:
      return [];
  }
}

function withinLimit(change: Change): Change {
  const { length } = JSON.stringify(change.document ?? null);
  if (length <= DOCUMENT_MAX) return change;
  const omitted = `the document has ${length} characters: ask for fewer fields`;
  return { ...change, document: { _id: change.document?.["_id"] }, omitted };
}

const lineOf = ({ change, document, omitted }: Change) =>
  `${change} ${JSON.stringify(document)} (${omitted})`;
