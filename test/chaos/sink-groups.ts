/** A writer whose documents move between groups, and a judge of the rows that a sink has sent of these groups. */
import { setTimeout as pause } from "node:timers/promises";
import type { Collection } from "mongodb";
import { expect } from "vitest";
import { Random } from "../support/random.ts";
import type { ReceivedEvent } from "../support/webhook-receiver.ts";

/** More groups than documents, so that many groups are empty at any time, and end and begin all the time. */
const GROUPS = 40;
const DOCUMENTS = 20;

export interface Member {
  _id: number;
  group: string;
  n: number;
}

/** The aggregate of the sink. */
export const BY_GROUP = {
  by: "group",
  values: { count: { count: true }, total: { sum: "n" }, last: { max: "n" } },
} as const;

/** The row of a group without its `_id`; `null` if the group is empty. */
type Row = { readonly count: number; readonly total: number; readonly last: number } | null;

/** Moves documents between groups at a steady rate, one by one, and remembers every row that a group has had. */
export class GroupWriter {
  /** By the name of the group, in the order of commits. */
  readonly histories = new Map<string, Row[]>();
  readonly #collection: Collection<Member>;
  readonly #rate: number;
  readonly #random: Random;
  readonly #members = new Map<number, Member>();
  readonly #done: Promise<void>;
  #isStopped = false;

  /** @param rate Writes per second. */
  constructor(collection: Collection<Member>, rate: number, seed: number) {
    this.#collection = collection;
    this.#rate = rate;
    this.#random = new Random(seed);
    for (let index = 0; index < GROUPS; index++) this.histories.set(`g${index}`, [null]);
    this.#done = this.#run();
  }

  /** The rows of the groups that have members, by their names. */
  get rows(): Record<string, Row> {
    const last = [...this.histories].map(([group, rows]) => [group, rows.at(-1) ?? null] as const);
    return Object.fromEntries(last.filter(([, row]) => row !== null));
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#done;
  }

  async #run(): Promise<void> {
    const startedMs = performance.now();
    for (let n = 1; !this.#isStopped; n++) {
      const _id = this.#random.int(1, DOCUMENTS);
      const group = `g${this.#random.int(0, GROUPS - 1)}`;
      await this.#collection.updateOne({ _id }, { $set: { group, n } }, { upsert: true });
      const former = this.#members.get(_id)?.group ?? group;
      this.#members.set(_id, { _id, group, n });
      for (const changed of new Set([former, group])) this.histories.get(changed)?.push(this.#rowOf(changed));
      const aheadMs = (n / this.#rate) * 1_000 - (performance.now() - startedMs);
      if (aheadMs > 0) await pause(aheadMs);
    }
  }

  #rowOf(group: string): Row {
    const values = [...this.#members.values()].filter((member) => member.group === group).map(({ n }) => n);
    if (values.length === 0) return null;
    const total = values.reduce((sum, n) => sum + n, 0);
    return { count: values.length, total, last: Math.max(...values) };
  }
}

function rowIn({ data }: ReceivedEvent): Row {
  if (data.doc === undefined) return null;
  const { count, total, last } = data.doc;
  return { count: Number(count), total: Number(total), last: Number(last) };
}

/** The rows of a receiver that replaces and deletes them by `subject`. */
export function copyOf(accepted: readonly ReceivedEvent[]): Record<string, Row> {
  const copy = new Map<string, Row>();
  for (const event of accepted) {
    const row = rowIn(event);
    if (row === null) copy.delete(event.subject);
    else copy.set(event.subject, row);
  }
  return Object.fromEntries(copy);
}

/** Each message has a row that its group had after some commit, and never one from before the message before it. */
export function judgeRows(accepted: readonly ReceivedEvent[], { histories }: GroupWriter): void {
  const texts = new Map(
    [...histories].map(([group, rows]) => [group, rows.map((row) => JSON.stringify(row))]),
  );
  const reached = new Map<string, number>();
  for (const event of accepted) {
    const { subject } = event;
    const history = texts.get(subject) ?? [];
    const text = JSON.stringify(rowIn(event));
    const from = reached.get(subject) ?? 0;
    const at = history.indexOf(text, from);
    if (at < 0)
      expect.fail(
        `${event.type} of ${subject} says ${text}, which ${history.includes(text) ? "is older than the row before it" : "the group never was"}`,
      );
    reached.set(subject, at);
  }
}
