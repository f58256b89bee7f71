/** The mark in each document that a writer of a load run writes, by which its deliveries are checked and timed. */

/** The field of the documents that holds the mark. */
export const MARK_FIELD = "load";

/** The mark of one write. */
export interface Mark {
  /** The run of `tidewire load` whose writers wrote it. */
  readonly run: string;
  /** The number of the document, from 0. */
  readonly doc: number;
  /** Counts the writes of this document. The document is inserted with 0. */
  readonly n: number;
  readonly writer: number;
  /** Counts the writes of the writer. */
  readonly seq: number;
  /** When the write was due, in epoch milliseconds with fractions. A stalled writer makes it later. */
  readonly at: number;
}

/** The mark of a document; `undefined` if it was not written by a load run, or a rule hides the mark. */
export function readMark(doc: unknown): Mark | undefined {
  if (typeof doc !== "object" || doc === null) return undefined;
  const mark = (doc as Readonly<Record<string, unknown>>)[MARK_FIELD]; // any document may lack it
  if (typeof mark !== "object" || mark === null) return undefined;
  const { run, doc: number, n, writer, seq, at } = mark as Partial<Mark>; // the types are checked here
  const isMark =
    typeof run === "string" && [number, n, writer, seq, at].every((value) => typeof value === "number");
  return isMark ? (mark as Mark) : undefined;
}
