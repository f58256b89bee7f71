import type { BsonValue } from "../match/bson-value.ts";
import { NumberSum } from "../match/number-sum.ts";
import { bytesOf, documentOf, int32, int64, NULL } from "../match/write-bson.ts";
import type { AggregateColumns, ColumnPaths } from "./aggregate-columns.ts";
import { Extreme } from "./extreme.ts";

/** Memory of a group besides its parts, in bytes; rounded up. */
const GROUP_BYTES = 320;
const INT32_MAX = 2 ** 31 - 1;
const NO_SUMS: readonly NumberSum[] = [];
const NO_EXTREMES: readonly Extreme[] = [];
/** Shorter than any row. */
const NO_ROW = new Uint8Array(0);

/** One group of a live aggregate, with the exact state from which its row is computed. */
export class Group {
  readonly id: BsonValue;
  readonly sums: readonly NumberSum[];
  readonly extremes: readonly Extreme[];
  /** The number of documents in the group. */
  documents = 0;
  /** The row that followers have; empty if they have none. */
  row: Uint8Array = NO_ROW;

  constructor(id: BsonValue, { sums, extremes }: AggregateColumns) {
    this.id = id;
    // Most aggregates only count, so they share empty lists.
    this.sums = sums.length === 0 ? NO_SUMS : sums.map(() => new NumberSum());
    this.extremes = extremes.length === 0 ? NO_EXTREMES : extremes.map(({ sign }) => new Extreme(sign));
  }

  /** Adds a document that has entered the group, or subtracts one that has left it. */
  apply(document: Uint8Array, paths: ColumnPaths, times: 1 | -1): void {
    this.documents += times;
    for (let i = 0; i < this.sums.length; i++) {
      const value = paths.sums[i]?.(document);
      if (value !== undefined) this.sums[i]?.add(value.type, value.bytes, value.start, times);
    }
    for (let i = 0; i < this.extremes.length; i++) {
      const value = paths.extremes[i]?.(document);
      if (value === undefined) continue;
      if (times === 1) this.extremes[i]?.add(value);
      else this.extremes[i]?.remove(value);
    }
    // A group without documents has no values, so all of them are known.
    if (this.documents === 0) for (const extreme of this.extremes) extreme.load([], true);
  }

  get isExhausted(): boolean {
    return this.extremes.some((extreme) => extreme.isExhausted);
  }

  get heldBytes(): number {
    let bytes = GROUP_BYTES + 2 * this.row.length;
    for (const sum of this.sums) bytes += sum.heldBytes;
    for (const extreme of this.extremes) bytes += extreme.heldBytes;
    return bytes;
  }

  /** The current row, as a document in memory of its own. */
  makeRow({ fields }: AggregateColumns): Uint8Array {
    const values = fields.map((field): [string, BsonValue] => [field.name, this.#valueOf(field)]);
    return bytesOf(documentOf([["_id", this.id], ...values]));
  }

  #valueOf(field: AggregateColumns["fields"][number]): BsonValue {
    if (field.kind === "count")
      return this.documents > INT32_MAX ? int64(BigInt(this.documents)) : int32(this.documents);
    if (field.kind === "extreme") return this.extremes[field.column]?.first ?? NULL;
    const sum = this.sums[field.column];
    return (field.kind === "sum" ? sum?.sum() : sum?.average()) ?? NULL;
  }
}
