/** Reads the groups as the server's `$group` gives them (see `aggregate-stages.ts`). */
import {
  BSON_TYPE,
  type BsonElement,
  type BsonValue,
  cStringAt,
  elementsOf,
  int32At,
  longAsNumberAt,
} from "../match/bson-value.ts";
import { oneSpelling } from "../match/one-spelling.ts";
import type { AggregateColumns } from "./aggregate-columns.ts";
import { addParts } from "./aggregate-stages.ts";
import { compareExactly } from "./extreme.ts";
import { Group } from "./group.ts";

/** A part of a group in the server's answer: the documents whose numbers are of the same kinds. */
interface Part {
  readonly documents: number;
  /** The kind of each sum. `sums` are the parts of all sums, one after another. */
  readonly kinds: readonly BsonValue[];
  readonly sums: readonly BsonValue[];
  readonly extremes: readonly BsonValue[];
}

const NONE: readonly BsonValue[] = [];

/** Reads the group from one answer of `groupStages`. */
export function readGroup(answer: Uint8Array, columns: AggregateColumns): Group {
  const fields = fieldsOf(answer, 0);
  const id = fields.get("_id");
  if (id === undefined) throw new TypeError("the server gave a group without _id");
  const group = new Group(oneSpelling(id), columns);
  const parts = fields.get("parts");
  if (parts === undefined) {
    const extremes = columns.extremes.map((_, i) => required(fields, `m${i}`));
    addPart(
      group,
      { documents: numberOf(required(fields, "n")), kinds: NONE, sums: NONE, extremes },
      columns,
    );
  } else for (const part of elementsOf(parts.bytes, parts.start)) addPart(group, readPart(part), columns);
  return group;
}

function readPart({ bytes, start }: BsonElement): Part {
  const fields = fieldsOf(bytes, start);
  const list = (name: string) => {
    const { bytes: own, start: from } = required(fields, name);
    return [...elementsOf(own, from)];
  };
  return {
    documents: numberOf(required(fields, "n")),
    kinds: list("k"),
    sums: list("s"),
    extremes: list("m"),
  };
}

function addPart(group: Group, { documents, kinds, sums, extremes }: Part, columns: AggregateColumns): void {
  group.documents += documents;
  for (const [index, sum] of group.sums.entries()) {
    const kind = kinds[index];
    const size = sums.length / group.sums.length;
    if (kind !== undefined)
      addParts(sum, numberOf(kind), documents, sums.slice(index * size, (index + 1) * size));
  }
  for (const [index, extreme] of group.extremes.entries()) {
    const value = markedValue(extremes[index]);
    if (value === null) continue;
    const { first } = extreme;
    const sign = columns.extremes[index]?.sign ?? 1;
    const isFirst = first === null || sign * compareExactly(value, first) < 0;
    // The server gives only the first value of each part. It may have more values than that.
    if (isFirst) extreme.load([value], false);
  }
}

/** Reads the first values of a group from the answers of `spareStages`. */
export function readSpare(answers: readonly Uint8Array[]): BsonValue[] {
  return answers.flatMap((answer) => {
    const value = markedValue(fieldsOf(answer, 0).get("m"));
    return value === null ? [] : [value];
  });
}

/** Reads a value that is stored together with the name of its type; `null` if there is none. */
function markedValue(marked: BsonValue | undefined): BsonValue | null {
  if (marked === undefined || marked.type !== BSON_TYPE.object) return null;
  return fieldsOf(marked.bytes, marked.start).get("v") ?? null;
}

function fieldsOf(bytes: Uint8Array, start: number): Map<string, BsonValue> {
  const fields = new Map<string, BsonValue>();
  for (const element of elementsOf(bytes, start)) fields.set(cStringAt(bytes, element.nameStart), element);
  return fields;
}

function required(fields: ReadonlyMap<string, BsonValue>, name: string): BsonValue {
  const value = fields.get(name);
  if (value === undefined) throw new TypeError(`the server gave a group without ${name}`);
  return value;
}

function numberOf({ type, bytes, start }: BsonValue): number {
  return type === BSON_TYPE.int ? int32At(bytes, start) : longAsNumberAt(bytes, start);
}
