/** Random rules and requests over the documents of the random writer, and the equivalent queries for the server. */
import { BSON, type Document } from "mongodb";
import type { ModelRequest } from "../support/model-client.ts";
import type { OracleQuery } from "../support/oracle.ts";
import type { Random } from "../support/random.ts";

export const COLLECTION = "things";
export const USERS = ["admin", "u0", "u1", "u2"] as const;
export type User = (typeof USERS)[number];

/** The documents and fields that one user may see. */
interface Grant {
  readonly filter: Document;
  readonly projection: Document | null;
  /** Fields that a client may filter by. */
  readonly visible: readonly string[];
}

export interface RandomRules {
  /** As in the configuration file. */
  readonly rules: readonly object[];
  grantOf(user: User): Grant;
}

/** Fields that nothing hides by default. */
export const VISIBLE = ["n", "kind", "tags", "meta.a", "meta.deep.x", "items", "owner", "at"];
export const INCLUDED = ["n", "kind", "tags", "owner", "meta.a"];
export const EXCLUDED = ["secret", "meta.hidden"];

export function randomRules(random: Random): RandomRules {
  const limit = random.int(3, 8);
  const filters: ((sub: string) => Document)[] = [
    (sub) => ({ owner: sub }),
    (sub) => ({ owner: { $in: [sub, "u2"] }, n: { $lt: limit } }),
    (sub) => ({ $or: [{ owner: sub }, { tags: random.pick(["a"]) }] }),
    (sub) => ({ owner: { $ne: sub }, "meta.a": { $not: { $gt: 2 } } }),
    (sub) => ({ $nor: [{ owner: sub, n: { $gte: limit } }, { kind: { $regex: "^ap" } }] }),
  ];
  const filter = random.pick(filters);
  const fields = random.pick([null, { exclude: EXCLUDED }, { include: INCLUDED }]);
  const customer = {
    name: "customer",
    filter: filter("%%user.sub"),
    ...(fields === null ? {} : { fields }),
  };
  const staff = { name: "staff", when: { "%%user.roles": { $in: ["admin"] } } };
  const projection = fields === null ? null : toServerProjection(fields);
  return {
    rules: [staff, customer],
    grantOf: (user) => {
      if (user === "admin") return { filter: {}, projection: null, visible: VISIBLE };
      return {
        filter: filter(user),
        projection,
        visible: fields !== null && "include" in fields ? INCLUDED : VISIBLE,
      };
    },
  };
}

export function toServerProjection(fields: { include: string[] } | { exclude: string[] }): Document {
  const [paths, value] = "include" in fields ? [fields.include, 1] : [fields.exclude, 0];
  return Object.fromEntries(paths.map((path) => [path, value]));
}

export function randomRequest(random: Random, { visible }: Grant): ModelRequest {
  const fields = random.chance(0.3) ? random.some(["n", "owner", "meta", "tags", "items.q", "v"], 0.5) : [];
  return {
    collection: COLLECTION,
    ...(random.chance(0.75) ? { filter: randomFilter(random, visible) } : {}),
    ...(fields.length === 0 ? {} : { fields }),
    ...(random.chance(0.15) ? { snapshot: false } : {}),
  };
}

export function randomFilter(random: Random, visible: readonly string[], depth = 0): Document {
  if (depth < 2 && random.chance(0.25)) {
    const branches = Array.from({ length: random.int(1, 3) }, () => randomFilter(random, visible, depth + 1));
    return { [random.pick(["$and", "$or", "$nor"])]: branches };
  }
  const filter: Document = {};
  for (let i = random.int(1, 2); i > 0; i--) {
    const field = random.pick(visible);
    filter[field] = predicate(random, field);
  }
  return filter;
}

function predicate(random: Random, field: string): unknown {
  const number = random.int(0, 9);
  if (field === "kind")
    return random.pick<unknown>([
      "apple",
      { $regex: "^ap" },
      { $gte: "b" },
      { $ne: "cherry" },
      { $type: "string" },
    ]);
  if (field === "owner")
    return random.pick<unknown>(["u1", { $in: ["u0", "u2"] }, { $exists: false }, { $gt: "u0" }]);
  if (field === "tags")
    return random.pick<unknown>([
      "a",
      { $all: ["a", "b"] },
      { $size: 2 },
      { $nin: ["c", "d"] },
      [],
      { $elemMatch: { $gt: "b" } },
    ]);
  if (field === "items")
    return random.pick<unknown>([{ $elemMatch: { q: { $gte: 2 } } }, { $size: 0 }, { $exists: true }]);
  if (field === "at")
    return random.pick<unknown>([{ $gt: { $date: "2023-11-14T22:13:22.000Z" } }, null, { $type: "date" }]);
  return random.pick<unknown>([
    number,
    null,
    { $gte: number },
    { $lt: number, $gt: number - 4 },
    { $in: [number, number + 1, null] },
    { $not: { $gt: number } },
    { $ne: number },
    { $mod: [2, 1] },
    { $exists: true },
  ]);
}

/** The rule and the request together, as the server is to be asked. */
export function toOracleQuery(database: string, grant: Grant, request: ModelRequest): OracleQuery {
  // Filters of clients are Extended JSON.
  const asked: Document = BSON.EJSON.parse(JSON.stringify(request.filter ?? {}));
  const fields =
    request.fields === undefined ? [] : [Object.fromEntries(request.fields.map((path) => [path, 1]))];
  return {
    database,
    collection: COLLECTION,
    filter: { $and: [grant.filter, asked] },
    projections: [...(grant.projection === null ? [] : [grant.projection]), ...fields],
  };
}
