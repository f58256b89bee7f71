/**
 * A naive model of App Services' rules: role by role, document by document. The points that its documentation leaves open
 * (the answer of a function, the value of a missing field of the user) are arguments.
 */
import type { Random } from "./random.ts";

export type Value = string | number | boolean | readonly Value[] | { readonly [key: string]: Value };
type Entries = Readonly<Record<string, unknown>>;

export interface World {
  /** `%%user`; tokens of ours bear the same, with `sub` for `id`. */
  readonly user: Entries;
  /** The results of functions. */
  readonly answer: boolean;
  /** Whether a field of the user that is missing equals one of the document that is. */
  readonly missingIsMissing: boolean;
}

const at = (value: unknown, path: string): unknown =>
  path.split(".").reduce<unknown>((inner, part) => (inner as Entries | undefined)?.[part], value);

function operandOf(text: unknown, doc: Entries, { user }: World): unknown {
  if (typeof text !== "string" || !text.startsWith("%%")) return text;
  if (text.startsWith("%%user.")) return at(user, text.slice("%%user.".length));
  return at(doc, text.slice("%%root.".length));
}

function equals(left: unknown, right: unknown, world: World): boolean {
  if (right === undefined) return left === undefined && world.missingIsMissing;
  if (Array.isArray(left) && left.includes(right)) return true;
  return JSON.stringify(left) === JSON.stringify(right);
}

/** Whether an expression holds. */
export function holds(expression: unknown, doc: Entries, world: World): boolean {
  if (typeof expression === "boolean") return expression;
  return Object.entries(expression as Entries).every(([key, value]) => {
    const each = (part: unknown) => holds(part, doc, world);
    if (key === "%%true") return each(value);
    if (key === "%%false") return !each(value);
    if (key === "%function") return world.answer;
    if (key === "%and") return (value as unknown[]).every(each);
    if (key === "%or") return (value as unknown[]).some(each);
    if (key === "%not") return !each(value);
    const left = key.startsWith("%%") ? operandOf(key, doc, world) : at(doc, key);
    return compares(left, value, doc, world);
  });
}

function compares(left: unknown, value: unknown, doc: Entries, world: World): boolean {
  if (typeof value !== "object" || value === null) return equals(left, operandOf(value, doc, world), world);
  return Object.entries(value).every(([operator, operand]: [string, unknown]) => {
    const right = operandOf(operand, doc, world);
    switch (operator) {
      case "$ne":
        return !equals(left, right, world);
      case "$gt":
        return typeof left === "number" && typeof right === "number" && left > right;
      case "$exists":
        return (left !== undefined) === right;
      case "$in":
        return Array.isArray(right) && right.some((item) => equals(left, item, world));
      case "$nin":
        return !Array.isArray(right) || !right.some((item) => equals(left, item, world));
      default:
        throw new Error(operator);
    }
  });
}

/** The fields of a document that a user reads; of nested ones by path. `undefined`: not the document. */
export function readable(rules: Entries, doc: Entries, world: World): string[] | undefined {
  let shown = Object.keys(doc);
  for (const { apply_when, query, projection } of rules["filters"] as Entries[]) {
    if (!holds(apply_when, {}, world)) continue;
    if (!holds(query, doc, world)) return undefined;
    shown = shown.filter((name) => (projection as Entries)[name] !== 0);
  }
  const role = (rules["roles"] as Entries[]).find(({ apply_when }) => holds(apply_when, doc, world));
  if (role === undefined) return undefined;
  const { read: gateRead = true, write: gateWrite = true } = (role["document_filters"] ?? {}) as Entries;
  const mayRead = holds(gateRead, doc, world);
  const mayWrite = holds(gateWrite, doc, world);
  if (mayRead && holds(role["read"] ?? false, doc, world)) return shown;
  if (mayWrite && holds(role["write"] ?? false, doc, world)) return shown;
  if (!mayRead || role["read"] !== undefined) return undefined;
  const fields = (role["fields"] ?? {}) as Record<string, Entries>;
  const rest = (role["additional_fields"] ?? {}) as Entries;
  if (rest["read"] !== true && !Object.values(fields).some(({ read }) => read === true)) return undefined;
  return shown.filter((name) => holds((fields[name] ?? rest)["read"] ?? false, doc, world));
}

const FIELDS = ["owner", "team", "open", "level", "members"];

export function randomDocument(random: Random): Entries {
  const doc: Record<string, unknown> = { _id: random.int(1, 9) };
  if (random.chance(0.8)) doc["owner"] = random.pick(["u1", "u2"]);
  if (random.chance(0.8)) doc["team"] = random.pick(["red", "blue"]);
  if (random.chance(0.7)) doc["open"] = random.chance(0.5);
  if (random.chance(0.7)) doc["level"] = random.int(0, 3);
  if (random.chance(0.7)) doc["members"] = random.some(["u1", "u2"], 0.5);
  return doc;
}

export function randomUser(random: Random): Entries {
  const custom: Record<string, unknown> = {};
  if (random.chance(0.85)) custom["role"] = random.pick(["admin", "member"]);
  if (random.chance(0.85)) custom["team"] = random.pick(["red", "blue"]);
  if (random.chance(0.85)) custom["teams"] = random.some(["red", "blue"], 0.5);
  return { id: random.pick(["u1", "u2"]), custom_data: custom };
}

const ABOUT_USERS: readonly unknown[] = [
  { "%%user.custom_data.role": "admin" },
  { "%%user.custom_data.role": { $exists: true } },
  { "%%user.custom_data.role": { $in: ["member", "guest"] } },
  { "%%user.custom_data.role": { $ne: "admin" } },
  { "%%user.id": "u1" },
];
const ABOUT_DOCUMENTS: readonly unknown[] = [
  { owner: "%%user.id" },
  { "%%root.owner": { $ne: "%%user.id" } },
  { team: "%%user.custom_data.team" },
  { team: { $in: "%%user.custom_data.teams" } },
  { team: { $nin: "%%user.custom_data.teams" } },
  { open: true },
  { level: { $gt: 1 } },
  { level: { $exists: false } },
  { members: "%%user.id" },
  { "%%user.id": { $in: "%%root.members" } },
  { "%%user.id": "%%root.owner" },
];
const FUNCTION = { "%%true": { "%function": { name: "f" } } };

export function randomExpression(random: Random, depth = 2): unknown {
  const inner = () => randomExpression(random, depth - 1);
  const kind = random.next();
  if (depth > 0 && kind < 0.12) return { "%or": [inner(), inner()] };
  if (depth > 0 && kind < 0.2) return { "%and": [inner(), inner()] };
  if (depth > 0 && kind < 0.28) return { "%not": inner() };
  if (kind < 0.35) return FUNCTION;
  if (kind < 0.45) return random.chance(0.8);
  return random.pick(kind < 0.65 ? ABOUT_USERS : ABOUT_DOCUMENTS);
}

function randomRole(random: Random, index: number): Entries {
  const role: Record<string, unknown> = { name: `r${index}`, apply_when: randomExpression(random) };
  if (random.chance(0.2)) {
    role["document_filters"] = { read: randomExpression(random, 1), write: randomExpression(random, 1) };
  }
  if (random.chance(0.5)) return { ...role, read: random.chance(0.7) ? true : randomExpression(random, 1) };
  if (random.chance(0.2)) role["write"] = random.chance(0.5) || randomExpression(random, 1);
  const rights = random.some(FIELDS, 0.4).map((name) => [name, { read: random.chance(0.6) }]);
  return { ...role, fields: Object.fromEntries(rights), additional_fields: { read: random.chance(0.5) } };
}

export function randomRules(random: Random): Entries {
  const filters = Array.from({ length: random.int(0, 2) }, (_, index) => ({
    name: `f${index}`,
    apply_when: random.chance(0.2) ? FUNCTION : random.pick([true, ...ABOUT_USERS]),
    query: random.pick([{}, { open: true }, { team: "red" }]),
    projection: random.pick([{}, {}, { level: 0 }]),
  }));
  return {
    roles: Array.from({ length: random.int(1, 4) }, (_, index) => randomRole(random, index)),
    filters,
  };
}
