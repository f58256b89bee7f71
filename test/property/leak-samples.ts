/**
 * Random rules, users, requests and writes, with a naive model of their result. The server evaluates a rule's
 * `when` and filter; the model only inserts the claims.
 */
import type { Db, Document, MongoClient } from "mongodb";
import type { AggregateRequest, AggregateValueRequest } from "../../src/protocol/messages.ts";
import { groupOf, type OracleQuery } from "../support/oracle.ts";
import type { Random } from "../support/random.ts";

export type Claims = Readonly<Record<string, unknown>>;

export interface RuleText {
  readonly name: string;
  readonly when?: Document;
  readonly filter?: Document;
  readonly fields?: { readonly include: readonly string[] } | { readonly exclude: readonly string[] };
  /** Unset: documents, and counts and groups. */
  readonly allow?: { readonly documents: false } | { readonly aggregate: false };
}

export interface LeakRequest {
  readonly collection: string;
  readonly filter?: Document;
  readonly fields?: readonly string[];
  readonly aggregate?: AggregateRequest;
}

const TEAMS = ["red", "green", "blue"];
const SUBS = ["u0", "u1", "u2", "u3"];

/** Tokens as an issuer might make them, some of which were not meant well. */
export function randomClaims(random: Random, sub: string): Claims {
  const claims: Record<string, unknown> = { sub };
  if (random.chance(0.8)) claims["teams"] = random.some(TEAMS, 0.5);
  if (random.chance(0.8)) claims["level"] = random.int(0, 3);
  if (random.chance(0.6)) claims["roles"] = random.some(["reader", "chief"], 0.5);
  if (random.chance(0.5)) claims["org"] = { unit: random.pick(TEAMS) };
  // Operators, lists and nothing at all where a value should be.
  if (random.chance(0.25)) {
    const evil: unknown = random.pick<unknown>([
      { $ne: null },
      { $gte: 0 },
      [],
      [{ $ne: null }],
      null,
      { $in: [] },
    ]);
    claims[random.pick(["teams", "level", "org"])] = evil;
  }
  return claims;
}

const FILTERS: readonly Document[] = [
  { owner: "%%user.sub" },
  { team: { $in: "%%user.teams" } },
  { team: { $nin: "%%user.teams" } },
  { level: { $lte: "%%user.level" } },
  { $or: [{ owner: "%%user.sub" }, { public: true }] },
  { $and: [{ team: { $in: "%%user.teams" } }, { level: { $not: { $gt: "%%user.level" } } }] },
  { readers: "%%user.sub" },
  { readers: { $all: ["%%user.sub"] }, public: { $ne: true } },
  { acl: { $elemMatch: { who: "%%user.sub", can: { $in: ["read", "write"] } } } },
  { $nor: [{ owner: { $ne: "%%user.sub" } }, { level: { $gt: "%%user.level" } }] },
  { team: "%%user.org.unit" },
  {},
];
const WHENS: readonly (Document | null)[] = [
  null,
  { "%%user.roles": "chief" },
  { "%%user.roles": { $in: ["reader", "chief"] } },
  { "%%user.level": { $gte: 2 } },
  { "%%user.org.unit": { $exists: true } },
];
const FIELDS: readonly (NonNullable<RuleText["fields"]> | null)[] = [
  null,
  { exclude: ["secret"] },
  { exclude: ["secret", "meta.hidden", "acl.note"] },
  { exclude: ["acl", "readers", "meta"] },
  { include: ["owner", "team", "public"] },
  { include: ["owner", "level", "meta.shown", "acl.who"] },
];

export function randomRules(random: Random): RuleText[] {
  return Array.from({ length: random.int(1, 3) }, (_, index) => {
    const when = random.pick(WHENS);
    const filter = random.pick(FILTERS);
    const fields = random.pick(FIELDS);
    const allow = random.chance(0.75)
      ? null
      : random.pick([{ documents: false }, { aggregate: false }] as const);
    return {
      name: `rule-${index}`,
      ...(when === null ? {} : { when }),
      ...(Object.keys(filter).length === 0 ? {} : { filter }),
      ...(fields === null ? {} : { fields }),
      ...(allow === null ? {} : { allow }),
    };
  });
}

/** The query of a request, or the reason why it has none. */
export type Expected = { readonly query: OracleQuery; readonly hidden: HiddenPaths } | "forbidden";

/** The naive reading of a rule's `fields`: which paths may not be seen. */
export interface HiddenPaths {
  hides(path: string): boolean;
}

export async function expectedOf(
  { client, db }: { readonly client: MongoClient; readonly db: Db },
  rules: readonly RuleText[],
  claims: Claims,
  request: LeakRequest,
): Promise<Expected> {
  const rule = await ruleFor(client, rules, claims);
  if (rule === undefined) return "forbidden";
  const filter = filledIn(rule.filter ?? {}, claims);
  if (filter === undefined) return "forbidden";
  const hidden = hiddenBy(rule.fields);
  const asked = [...pathsOf(request.filter ?? {}), ...pathsIn(request.aggregate)];
  if (asked.some((path) => hidden.hides(path))) return "forbidden";
  const { allow = {} } = rule;
  if (request.aggregate === undefined ? "documents" in allow : "aggregate" in allow) return "forbidden";
  // Such a user may know how many documents there are, and not which.
  if ("documents" in allow && asked.some((path) => isWithin(path, "_id"))) return "forbidden";
  if (request.aggregate !== undefined) {
    const whole = { $and: [filter, request.filter ?? {}] };
    const group = groupOf(request.aggregate);
    const query = {
      database: db.databaseName,
      collection: request.collection,
      filter: whole,
      projections: [],
      group,
    };
    return { hidden, query };
  }
  return {
    hidden,
    query: {
      database: db.databaseName,
      collection: request.collection,
      filter: { $and: [filter, request.filter ?? {}] },
      projections: [
        ...projectionOf(rule.fields),
        ...(request.fields === undefined ? [] : [included(request.fields)]),
      ],
    },
  };
}

/** The paths that rows are made of. */
function pathsIn(aggregate: AggregateRequest | undefined): string[] {
  const { by = [], values = {} } = aggregate ?? {};
  const named = Object.values(values).flatMap((value) => Object.values(value));
  return [...[by].flat(), ...named.filter((path) => typeof path === "string")];
}

const included = (paths: readonly string[]) => Object.fromEntries(paths.map((path) => [path, 1]));

function projectionOf(fields: RuleText["fields"]): Document[] {
  if (fields === undefined) return [];
  if ("include" in fields) return [included(fields.include)];
  return [Object.fromEntries(fields.exclude.map((path) => [path, 0]))];
}

/** The first rule whose `when` the server finds to hold for the claims. */
async function ruleFor(
  client: MongoClient,
  rules: readonly RuleText[],
  claims: Claims,
): Promise<RuleText | undefined> {
  for (const rule of rules) {
    if (rule.when === undefined) return rule;
    const when = Object.fromEntries(
      Object.entries(rule.when).map(([path, predicate]) => [path.replace(/^%%/, ""), predicate]),
    );
    // As a literal, since claims may hold keys that would be operators. In place of a document that every server has,
    // because `$documents` begins with MongoDB 5.1.
    const pipeline = [{ $limit: 1 }, { $replaceWith: { user: { $literal: claims } } }, { $match: when }];
    const found = await client.db("admin").collection("system.version").aggregate(pipeline).toArray();
    if (found.length > 0) return rule;
  }
  return undefined;
}

/** The filter with the claims in their places; `undefined` where one is missing or of the wrong shape. */
function filledIn(filter: Document, claims: Claims): Document | undefined {
  let refused = false;
  const fill = (value: unknown, operator: string): unknown => {
    if (typeof value === "string" && value.startsWith("%%user.")) {
      const claim = value
        .slice("%%user.".length)
        .split(".")
        .reduce<unknown>((at, part) => (isObject(at) ? at[part] : undefined), claims);
      const wantsList = operator === "$in" || operator === "$nin";
      const fits = wantsList ? Array.isArray(claim) && claim.every(isScalar) : isScalar(claim);
      if (!fits) refused = true;
      return claim;
    }
    if (Array.isArray(value)) return value.map((element) => fill(element, ""));
    if (!isObject(value)) return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, fill(inner, key)]));
  };
  const filled = fill(filter, "") as Document; // an object comes back as one
  return refused ? undefined : filled;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isScalar = (value: unknown) => ["string", "number", "boolean"].includes(typeof value);

/** Every path that a filter looks at, whatever it is wrapped in. */
export function pathsOf(filter: unknown, prefix = ""): string[] {
  if (!isObject(filter)) return [];
  return Object.entries(filter).flatMap(([key, value]) => {
    if (key.startsWith("$")) return listOf(value).flatMap((branch) => pathsOf(branch, prefix));
    return pathsOn(prefix === "" ? key : `${prefix}.${key}`, value);
  });
}

/** The reach of a predicate on a path: the value there, or only the values below it. */
function pathsOn(path: string, predicate: unknown): string[] {
  const operators = isObject(predicate) ? Object.entries(predicate) : [];
  if (!operators.some(([operator]) => operator.startsWith("$"))) return [path];
  return operators.flatMap(([operator, value]) => {
    if (operator === "$not") return pathsOn(path, value);
    if (operator === "$all") return listOf(value).flatMap((element) => pathsOn(path, element));
    return operator === "$elemMatch" ? pathsOf(value, path) : [path];
  });
}

const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [value]);

/** With and without the parts that may be indexes of arrays. */
const readings = (path: string) => [
  path,
  path
    .split(".")
    .filter((part, at) => at === 0 || !/^\d+$/.test(part))
    .join("."),
];
const isWithin = (path: string, parent: string) => path === parent || path.startsWith(`${parent}.`);

export function hiddenBy(fields: RuleText["fields"]): HiddenPaths {
  if (fields === undefined) return { hides: () => false };
  if ("exclude" in fields) {
    // A parent shows what is below it, a child is below it.
    const hides = (path: string) =>
      fields.exclude.some((hidden) => isWithin(path, hidden) || isWithin(hidden, path));
    return { hides: (path) => readings(path).some(hides) };
  }
  const shows = (path: string) => [...fields.include, "_id"].some((shown) => isWithin(path, shown));
  return { hides: (path) => !readings(path).every(shows) };
}

const PATHS = [
  "owner",
  "team",
  "level",
  "public",
  "readers",
  "secret",
  "meta.shown",
  "meta.hidden",
  "acl.who",
  "acl.note",
];

/** Nine filters in ten on what a rule may show, the others on anything, in every disguise. */
export function randomRequest(random: Random, collection: string): LeakRequest {
  const fields = random.chance(0.25)
    ? random.some(["owner", "team", "meta", "secret", "acl.who", "level"], 0.5)
    : [];
  const filter = random.chance(0.7) ? { filter: randomFilter(random) } : {};
  if (random.chance(0.35)) return { collection, ...filter, aggregate: randomAggregate(random) };
  return {
    collection,
    ...filter,
    ...(fields.length === 0 ? {} : { fields }),
  };
}

/** Nine in ten of what a rule may show, the others of anything, `_id` among it. */
function randomAggregate(random: Random): AggregateRequest {
  const path = () =>
    random.pick(random.chance(0.8) ? ["owner", "team", "level", "public"] : [...PATHS, "_id", "meta"]);
  const value = (): AggregateValueRequest =>
    random.pick([{ count: true as const }, { sum: "level" }, { min: path() }, { max: path() }]);
  const names = ["a", "b", "c"].slice(0, random.int(0, 3));
  const by = random.pick([null, path(), path()]);
  return {
    ...(by === null ? {} : { by }),
    ...(names.length === 0 ? {} : { values: Object.fromEntries(names.map((name) => [name, value()])) }),
  };
}

function randomFilter(random: Random, depth = 0): Document {
  const safe = random.chance(0.7);
  const path = random.pick(safe ? ["owner", "team", "level", "public"] : PATHS);
  if (depth < 2 && random.chance(0.3)) {
    const branches = Array.from({ length: random.int(1, 2) }, () => randomFilter(random, depth + 1));
    return { [random.pick(["$and", "$or", "$nor"])]: branches };
  }
  if (path.startsWith("acl.") || path.startsWith("meta.")) return disguise(random, path);
  return { [path]: predicate(random, path) };
}

/** The same field by another way. */
function disguise(random: Random, path: string): Document {
  const [parent = "", child = ""] = path.split(".");
  const value = predicate(random, path);
  return random.pick<Document>([
    { [path]: value },
    { [`${parent}.0.${child}`]: value },
    { [parent]: { $elemMatch: { [child]: value } } },
    { [parent]: { $not: { $elemMatch: { $or: [{ [child]: value }] } } } },
    { [parent]: { $all: [{ $elemMatch: { [child]: value } }] } },
  ]);
}

function predicate(random: Random, path: string): unknown {
  const name = path.slice(path.lastIndexOf(".") + 1);
  const value = someValue(random, name);
  return random.pick<unknown>([
    value,
    { $ne: value },
    { $in: [value, someValue(random, name)] },
    { $exists: random.chance(0.5) },
    { $not: { $gt: value } },
    { $gte: value },
  ]);
}

function someValue(random: Random, name: string): unknown {
  switch (name) {
    case "owner":
    case "who":
      return random.pick(SUBS);
    case "readers":
      return random.pick(SUBS);
    case "team":
      return random.pick(TEAMS);
    case "level":
      return random.int(0, 3);
    case "public":
      return random.chance(0.5);
    default:
      return `${name}-${random.int(0, 2)}`;
  }
}

const aclEntry = (random: Random) => ({
  who: someValue(random, "who"),
  can: random.pick(["read", "write", "nothing"]),
  note: someValue(random, "note"),
});

export function randomFields(random: Random): Document {
  const all: Document = {
    owner: someValue(random, "owner"),
    team: someValue(random, "team"),
    level: someValue(random, "level"),
    public: random.chance(0.3),
    readers: random.some(SUBS, 0.4),
    secret: someValue(random, "secret"),
    meta: random.pick<unknown>([
      { shown: someValue(random, "shown"), hidden: someValue(random, "hidden") },
      [{ shown: someValue(random, "shown"), hidden: someValue(random, "hidden") }],
      { hidden: someValue(random, "hidden") },
    ]),
    acl: random.pick<unknown>([
      [aclEntry(random)],
      [aclEntry(random), aclEntry(random)],
      [],
      aclEntry(random),
    ]),
  };
  return Object.fromEntries(Object.entries(all).filter(() => random.chance(0.8)));
}

/** One write to one document, as a command. */
export function randomWrite(random: Random, collection: string): Document {
  const _id = `${collection}-${random.int(0, 9)}`;
  const q = { _id };
  const update = (u: Document, upsert = false) => ({ update: collection, updates: [{ q, u, upsert }] });
  const field = random.pick(["owner", "team", "level", "public", "secret"]);
  switch (random.int(0, 6)) {
    case 0:
      return { delete: collection, deletes: [{ q, limit: 1 }] };
    case 1:
      return update(randomFields(random), true);
    case 2:
      // To what is hidden from most.
      return update({
        $set: { secret: someValue(random, "secret"), "meta.hidden": someValue(random, "hidden") },
      });
    case 3:
      return update({ $unset: { [field]: 1 } });
    case 4:
      return update({ $set: { acl: randomFields(random)["acl"] ?? [] } });
    default:
      return update({ $set: { [field]: someValue(random, field) } }, true);
  }
}
