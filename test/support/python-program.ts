/** A program with the client for Python, and a judge of the changes that it prints (python-follow.py). */
import { randomInt } from "node:crypto";
import { join } from "node:path";
import type { Db } from "mongodb";
import { expect } from "vitest";
import { ROOT } from "./build.ts";
import { Program } from "./program.ts";
import { pythonEnv } from "./python.ts";
import { Random } from "./random.ts";
import { SECRET, signToken } from "./service.ts";

export const PATIENCE = { timeout: 120_000 };

interface Doc {
  readonly _id: string | number;
  readonly v: number;
}
export interface Line {
  readonly type: string;
  readonly q?: number;
  readonly start?: string;
  readonly doc?: Doc;
  readonly docs?: readonly Doc[];
  readonly _id?: string | number;
  readonly text?: string;
  readonly ids?: readonly (string | number)[];
}

/** Starts a program that follows `things`. */
export async function followThings(
  python: string,
  options: object,
  claims: object = { sub: "u1" },
): Promise<Program> {
  const script = join(ROOT, "test", "support", "python-follow.py");
  return new Program(python, [script, JSON.stringify({ collection: "things", ...options })], {
    ...pythonEnv(),
    TIDEWIRE_TOKEN: await signToken({ ...claims }),
    TIDEWIRE_JWT_SECRET: SECRET,
  });
}

export const linesOf = (program: Program, q = 0): Line[] =>
  (program.lines as unknown as Line[]).filter((line) => (line.q ?? q) === q); // the program prints them so

/**
 * The result of these lines: the versions of the documents, and everything that is wrong.
 * @param step Whether each change of a document adds one to its version, so that a missed change shows. Otherwise versions
 *   only grow.
 */
export function judge(lines: readonly Line[], step: boolean) {
  const held = new Map<string | number, number>();
  const wrong = lines.flatMap(({ type, text = "" }) => (type === "complaint" ? [text] : []));
  let changes = 0;
  for (const { type, doc, docs, _id } of lines) {
    if (type === "snapshot") held.clear();
    for (const one of docs ?? []) held.set(one._id, one.v);
    if (type === "removed" && _id !== undefined && !held.delete(_id)) wrong.push(`${_id} removed, not held`);
    if (doc === undefined) continue;
    changes++;
    const before = held.get(doc._id);
    if ((type === "added") === (before !== undefined)) wrong.push(`${doc._id} ${type}, held ${before}`);
    if (step ? doc.v !== (before ?? 0) + 1 : doc.v < (before ?? 0))
      wrong.push(`${doc._id}: ${doc.v} after ${before}`);
    held.set(doc._id, doc.v);
  }
  return { held, wrong, changes };
}

export async function foundThings(db: Db, filter: object = {}): Promise<Map<string | number, number>> {
  const things = await db.collection<Doc>("things").find(filter).toArray();
  return new Map(things.map(({ _id, v }) => [_id, v]));
}

const sorted = (versions: ReadonlyMap<string | number, number>) =>
  [...versions].map(([_id, v]) => `${_id}: ${v}`).sort();

/** Waits until the program shows this. */
export async function untilShown(
  program: Program,
  expected: ReadonlyMap<string | number, number>,
  q = 0,
): Promise<void> {
  await expect
    .poll(() => [sorted(judge(linesOf(program, q), false).held), program.errors], PATIENCE)
    .toEqual([sorted(expected), []]);
}

/** Random numbers whose seed is printed. */
export function seededRandom(): Random {
  const seed = Number(process.env["TIDEWIRE_TEST_SEED"] ?? randomInt(2 ** 31));
  console.log(`seed ${seed}`);
  return new Random(seed);
}
