/** Random rules, users and requests of the simulation, and the equivalent queries for the server. */
import { BSON, type Document } from "mongodb";
import type { AggregateValueRequest, ValueMode } from "../../src/protocol/messages.ts";
import { EXCLUDED, INCLUDED, randomFilter, toServerProjection, VISIBLE } from "../property/exact-samples.ts";
import type { ModelRequest } from "../support/model-client.ts";
import { groupOf, type Oracle, type OracleQuery, type Result } from "../support/oracle.ts";
import type { Random } from "../support/random.ts";

export const THINGS = "things";
/** Collections that somebody follows only now and then. They have the same rules, and the same kinds of documents. */
export const RARE = ["rare0", "rare1"] as const;
export const MEMBERS = "members";
export const SUBS = ["u0", "u1", "u2"] as const;
export const GROUPS = ["apple", "apricot", "banana", "cherry"] as const;

export interface Claims {
  readonly sub: string;
  readonly owners: readonly string[];
  readonly roles: readonly string[];
}

/** A set that the rights follow from: the groups that a user is an active member of. */
const LOOKUPS = {
  groups: { collection: MEMBERS, filter: { user: "%%user.sub", active: true }, value: "group" },
};
const groupsFilter = (sub: string): Document => ({ user: sub, active: true });

/** A rule's filter as it stands in the file, and as it is for the server. */
interface Shape {
  readonly inFile: Document;
  readonly usesGroups: boolean;
  readonly forServer: (claims: Claims, groups: readonly string[]) => Document;
}

function shapes(random: Random): Shape[] {
  const least = random.int(1, 6);
  return [
    {
      inFile: { owner: "%%user.sub" },
      usesGroups: false,
      forServer: ({ sub }) => ({ owner: sub }),
    },
    {
      inFile: { owner: { $in: "%%user.owners" }, n: { $gte: least } },
      usesGroups: false,
      forServer: ({ owners }) => ({ owner: { $in: owners }, n: { $gte: least } }),
    },
    {
      // No date of a thing lies ahead: at each step everybody moves, to the same result.
      inFile: { owner: { $in: "%%user.owners" }, at: { $not: { $gt: "%%now" } } },
      usesGroups: false,
      forServer: ({ owners }) => ({ owner: { $in: owners } }),
    },
    {
      inFile: { kind: { $in: "%%lookup.groups" } },
      usesGroups: true,
      forServer: (_claims, groups) => ({ kind: { $in: groups } }),
    },
    {
      inFile: { $or: [{ owner: "%%user.sub" }, { kind: { $in: "%%lookup.groups" }, n: { $lt: 8 } }] },
      usesGroups: true,
      forServer: ({ sub }, groups) => ({ $or: [{ owner: sub }, { kind: { $in: groups }, n: { $lt: 8 } }] }),
    },
    {
      inFile: { owner: { $in: "%%user.owners" }, kind: { $nin: "%%lookup.groups" } },
      usesGroups: true,
      forServer: ({ owners }, groups) => ({ owner: { $in: owners }, kind: { $nin: groups } }),
    },
  ];
}

/** The documents and fields that one user may see under the current rules. */
export interface Grant {
  readonly usesGroups: boolean;
  readonly filter: (groups: readonly string[]) => Document;
  readonly projection: Document | null;
  /** Fields that a client may filter and sort by. */
  readonly visible: readonly string[];
}

/** The rules of a moment. */
export interface Rules {
  /** The section `collections` of the configuration. */
  readonly collections: Record<string, unknown>;
  grantOf(claims: Claims): Grant;
}

export function randomRules(random: Random): Rules {
  const shape = random.pick(shapes(random));
  const fields = random.pick([null, null, { exclude: EXCLUDED }, { include: INCLUDED }]);
  const staff = { name: "staff", when: { "%%user.roles": { $in: ["admin"] } } };
  const customer = { name: "customer", filter: shape.inFile, ...(fields === null ? {} : { fields }) };
  return {
    collections: Object.fromEntries(
      [THINGS, ...RARE].map((name) => [name, { lookups: LOOKUPS, rules: [staff, customer] }]),
    ),
    grantOf: (claims) => {
      if (claims.roles.includes("admin"))
        return { usesGroups: false, filter: () => ({}), projection: null, visible: VISIBLE };
      return {
        usesGroups: shape.usesGroups,
        filter: (groups) => shape.forServer(claims, groups),
        projection: fields === null ? null : toServerProjection(fields),
        visible: fields !== null && "include" in fields ? INCLUDED : VISIBLE,
      };
    },
  };
}

export function randomClaims(random: Random, sub: string): Claims {
  return {
    sub,
    owners: random.some([...SUBS], 0.6),
    roles: random.chance(0.1) ? ["admin"] : [],
  };
}

/** Sort keys: at most one that may hold an array, as the server refuses two. */
const SORTS: readonly (readonly [string, 1 | -1])[][] = [
  [["n", 1]],
  [["n", -1]],
  [
    ["kind", 1],
    ["n", -1],
  ],
  [["tags", 1]],
  [["at", -1]],
  [
    ["owner", -1],
    ["meta.a", 1],
  ],
];

const randomCollection = (random: Random) => (random.chance(0.08) ? random.pick(RARE) : THINGS);

/** Something that every grant of the world allows, so that an edit of the rules ends nothing by chance. */
export function randomRequest(random: Random): ModelRequest {
  if (random.chance(0.25)) return randomAggregate(random);
  const isSorted = random.chance(0.45);
  const sort = random.pick(SORTS.filter((keys) => keys.every(([path]) => INCLUDED.includes(path))));
  const fields = random.chance(0.25) ? random.some(["n", "owner", "meta", "tags", "v"], 0.5) : [];
  return {
    collection: randomCollection(random),
    ...(random.chance(0.6) ? { filter: randomFilter(random, INCLUDED) } : {}),
    ...(fields.length === 0 ? {} : { fields }),
    ...(isSorted ? { sort } : {}),
    ...(isSorted && random.chance(0.85) ? { limit: random.int(1, 9) } : {}),
    ...(random.chance(0.35) ? { documents: "delta" as const } : {}),
  };
}

/** Values of which the server makes the same text as the service: sums of whole numbers, and what has one type. */
const VALUES: Readonly<Record<string, AggregateValueRequest>> = {
  count: { count: true },
  sum: { sum: "n" },
  least: { min: "n" },
  greatest: { max: "n" },
  kind: { max: "kind" },
  deep: { sum: "meta.a" },
};

function randomAggregate(random: Random): ModelRequest {
  const by = random.pick(["kind", "owner", "tags", "meta.a", ["owner", "kind"], ["kind"]]);
  const isWhole = random.chance(0.2);
  const names = random.some(Object.keys(VALUES), 0.4);
  const values = Object.fromEntries(names.map((name) => [name, VALUES[name] ?? { count: true as const }]));
  return {
    collection: randomCollection(random),
    ...(random.chance(0.5) ? { filter: randomFilter(random, INCLUDED) } : {}),
    aggregate: { ...(isWhole ? {} : { by }), ...(names.length === 0 ? {} : { values }) },
  };
}

/** The result of the server's own find for a request under a grant, at the time of a cursor. */
export async function findAt(
  oracle: Oracle,
  database: string,
  { grant, claims, request }: { grant: Grant; claims: Claims; request: ModelRequest },
  { cursor, mode }: { cursor: string; mode: ValueMode },
): Promise<Result | null> {
  const groups = grant.usesGroups ? await groupsAt(oracle, database, claims.sub, cursor) : [];
  if (groups === null) return null;
  // Filters of clients are Extended JSON.
  const asked: Document = BSON.EJSON.parse(JSON.stringify(request.filter ?? {}));
  const fields =
    request.fields === undefined ? [] : [Object.fromEntries(request.fields.map((path) => [path, 1]))];
  const query: OracleQuery = {
    database,
    collection: request.collection,
    filter: { $and: [grant.filter(groups), asked] },
    projections:
      request.aggregate !== undefined
        ? []
        : [...(grant.projection === null ? [] : [grant.projection]), ...fields],
    ...(request.aggregate === undefined ? {} : { group: groupOf(request.aggregate) }),
    ...(request.sort === undefined ? {} : { sort: Object.fromEntries([...request.sort, ["_id", 1]]) }),
    ...(request.limit === undefined ? {} : { limit: request.limit }),
  };
  return oracle.find(query, cursor, mode);
}

async function groupsAt(oracle: Oracle, database: string, sub: string, cursor: string) {
  const query = {
    database,
    collection: MEMBERS,
    filter: groupsFilter(sub),
    projections: [{ group: 1, _id: 1 }],
  };
  const found = await oracle.find(query, cursor, "json");
  if (found === null) return null;
  return [...found.values()].map((text) => String(JSON.parse(text)["group"]));
}
