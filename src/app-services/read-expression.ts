/** Rule expressions of App Services, read as conditions. An expression that is not supported exactly is unknown, and is reported. */
import { isPlainObject } from "../match/read-literal.ts";
import { ALWAYS, all, any, type Condition, type Filter, NEVER, not, UNKNOWN } from "./condition.ts";
import { hasExpansion, type Operand, readKey, readValue, type Surroundings } from "./operands.ts";
import type { NoteProblem } from "./problems.ts";

type Known = Exclude<Operand, { is: "unfit" }>;
type User = Extract<Operand, { is: "user" }>;
type Comparison = "$eq" | "$ne" | "$gt" | "$gte" | "$lt" | "$lte";

/** The comparison after the sides are swapped. */
const TURNED: Readonly<Record<Comparison, Comparison>> = {
  $eq: "$eq",
  $ne: "$ne",
  $gt: "$lt",
  $gte: "$lte",
  $lt: "$gt",
  $lte: "$gte",
};
const isComparison = (name: string): name is Comparison => Object.hasOwn(TURNED, name);

/** Exports use both spellings: `%and` and `$and`. */
const nameOf = (operator: string) => operator.replace(/^%(?!%)/, "$");

/** @param at The location, for the report. */
export function readExpression(
  value: unknown,
  at: string,
  around: Surroundings,
  noteProblem: NoteProblem,
): Condition {
  return new ExpressionReader(around, noteProblem).expression(value, at);
}

class ExpressionReader {
  readonly #around: Surroundings;
  readonly #noteProblem: NoteProblem;

  constructor(around: Surroundings, noteProblem: NoteProblem) {
    this.#around = around;
    this.#noteProblem = noteProblem;
  }

  /** A truth value, or an object of which every entry must hold. */
  expression(value: unknown, at: string): Condition {
    if (value === true || value === "%%true") return ALWAYS;
    if (value === false || value === "%%false") return NEVER;
    if (!isPlainObject(value)) return this.#unknown(at, "not an expression");
    return all(Object.entries(value).map(([key, inner]) => this.#entry(key, inner, `${at}.${key}`)));
  }

  #entry(key: string, value: unknown, at: string): Condition {
    if (key === "%%true") return this.expression(value, at);
    if (key === "%%false") return not(this.expression(value, at));
    switch (nameOf(key)) {
      case "$and":
        return all(this.#list(value, at, (part, place) => this.expression(part, place)));
      case "$or":
        return any(this.#list(value, at, (part, place) => this.expression(part, place)));
      case "$nor":
        return not(any(this.#list(value, at, (part, place) => this.expression(part, place))));
      case "$not":
        return not(this.expression(value, at));
    }
    const left = readKey(key, this.#around);
    return left.is === "unfit" ? this.#unknown(at, left.why) : this.#on(left, value, at);
  }

  /** The condition on one operand. */
  #on(left: Known, value: unknown, at: string): Condition {
    const names = isPlainObject(value) ? Object.keys(value) : [];
    const isOperators = names.some((name) => /^[$%]/.test(name)) && !isOneValue(value, this.#around);
    if (!isPlainObject(value) || !isOperators) return this.#compared(left, "$eq", value, at);
    return all(names.map((name) => this.#operator(left, name, value[name], `${at}.${name}`)));
  }

  #operator(left: Known, written: string, value: unknown, at: string): Condition {
    const name = nameOf(written);
    if (isComparison(name)) return this.#compared(left, name, value, at);
    switch (name) {
      case "$in":
        return this.#within(left, value, at);
      case "$nin":
        return not(this.#within(left, value, at));
      case "$exists":
        return this.#exists(left, value, at);
      case "$and":
        return all(this.#list(value, at, (part, place) => this.#on(left, part, place)));
      case "$or":
        return any(this.#list(value, at, (part, place) => this.#on(left, part, place)));
      case "$not":
        return not(this.#on(left, value, at));
      default:
        return this.#unknown(
          at,
          name === "$function" ? "a function decides" : `${written} is not understood`,
        );
    }
  }

  #compared(left: Known, operator: Comparison, value: unknown, at: string): Condition {
    const right = readValue(value, this.#around);
    if (right.is === "unfit") return this.#unknown(at, right.why);
    if (left.is === "document") return this.#document(left, operator, right, at);
    if (right.is === "document") {
      const turned = this.#document(right, TURNED[operator], left, at);
      // The documentation does not say whether a list on the right matches by item. An `_id` is never a list.
      if (right.path === "_id") return turned;
      return all([turned, any([not(onDocument({ [right.path]: { $type: "array" } })), UNKNOWN])]);
    }
    if (left.is === "user" && right.is === "value") return this.#user(left, operator, right.value, at);
    if (left.is === "value" && right.is === "user")
      return this.#user(right, TURNED[operator], left.value, at);
    if (left.is === "value" && right.is === "value")
      return this.#constant(left.value, operator, right.value, at);
    return this.#unknown(at, "two fields of the user are compared");
  }

  #document(
    left: Extract<Operand, { is: "document" }>,
    operator: Comparison,
    right: Known,
    at: string,
  ): Condition {
    if (right.is === "document") return this.#unknown(at, "two fields of the document are compared");
    if (left.asText) return this.#idAsText(left.path, operator, right, at);
    const operand = right.is === "user" ? placeholder(right) : right.value;
    if (!isScalar(operand)) return this.#unknown(at, "a list or an object where a single value is supported");
    return onDocument(
      { [left.path]: operator === "$eq" ? operand : { [operator]: operand } },
      right.is === "user" ? [right.claim] : [],
    );
  }

  /** An ObjectId of the document as a string. Compared with the user's own id, it is the ObjectId of that id. */
  #idAsText(path: string, operator: Comparison, right: Known, at: string): Condition {
    if (operator !== "$eq") return this.#unknown(at, `${operator} on %oidToString`);
    if (right.is === "user" && right.claim === this.#around.claimFor("id") && !right.asOid) {
      return onDocument({ [path]: placeholder({ ...right, asOid: true }) }, [right.claim]);
    }
    if (right.is === "value" && /^[0-9a-f]{24}$/.test(String(right.value))) {
      return onDocument({ [path]: { $oid: right.value } });
    }
    return this.#unknown(at, "%oidToString of this");
  }

  #user({ claim, asOid }: User, operator: Comparison, value: unknown, at: string): Condition {
    if (asOid || !isScalar(value)) return this.#unknown(at, "this cannot be asked of a claim");
    return onUser(claim, operator === "$eq" ? value : { [operator]: value });
  }

  #constant(left: unknown, operator: Comparison, right: unknown, at: string): Condition {
    if (operator !== "$eq" && operator !== "$ne") return this.#unknown(at, "constants are compared");
    const isEqual = JSON.stringify(left) === JSON.stringify(right);
    return isEqual === (operator === "$eq") ? ALWAYS : NEVER;
  }

  #within(left: Known, value: unknown, at: string): Condition {
    if (left.is === "document" && left.asText) return this.#unknown(at, "%oidToString within a list");
    if (Array.isArray(value)) return this.#amongst(left, value, at);
    const right = readValue(value, this.#around);
    if (right.is === "unfit") return this.#unknown(at, right.why);
    if (right.is === "value" && Array.isArray(right.value)) return this.#amongst(left, right.value, at);
    if (right.is === "user" && left.is === "document" && !right.asOid) {
      return onDocument({ [left.path]: { $in: placeholder(right) } }, [right.claim]);
    }
    if (right.is === "document" && !right.asText && left.is !== "document") {
      const item = left.is === "user" ? placeholder(left) : left.value;
      const claims = left.is === "user" ? [left.claim] : [];
      // Only a list can contain the value: a single value is not a list.
      if (isScalar(item)) return onDocument({ [right.path]: { $elemMatch: { $eq: item } } }, claims);
    }
    return this.#unknown(at, "not a supported list");
  }

  /** Membership in a literal list. */
  #amongst(left: Known, list: readonly unknown[], at: string): Condition {
    const items = list.map((item) => readValue(item, this.#around));
    const users = items.filter((item) => item.is === "user");
    const written = items.map((item) =>
      item.is === "user" ? placeholder(item) : item.is === "value" ? item.value : undefined,
    );
    if (!written.every(isScalar)) return this.#unknown(at, "a list with an item that is not a value");
    if (left.is === "document") {
      return onDocument(
        { [left.path]: { $in: written } },
        users.map(({ claim }) => claim),
      );
    }
    if (users.length > 0) return this.#unknown(at, "fields of the user in a list");
    if (left.is === "user" && !left.asOid) return onUser(left.claim, { $in: written });
    if (left.is !== "value") return this.#unknown(at, "this cannot be asked of a claim");
    return written.some((item) => JSON.stringify(item) === JSON.stringify(left.value)) ? ALWAYS : NEVER;
  }

  #exists(left: Known, value: unknown, at: string): Condition {
    const wanted = this.expression(value, at);
    if (wanted.is !== "constant") return this.#unknown(at, "not true or false");
    const is = this.#isThere(left);
    return wanted.value ? is : not(is);
  }

  #isThere(left: Known): Condition {
    if (left.is === "value") return ALWAYS;
    if (left.is === "user") return onUser(left.claim, { $ne: null });
    // The documentation does not say whether null counts as a value.
    const isNull = onDocument({ [left.path]: { $exists: true } });
    return any([onDocument({ [left.path]: { $ne: null } }), all([isNull, UNKNOWN])]);
  }

  #list(value: unknown, at: string, read: (part: unknown, at: string) => Condition): Condition[] {
    if (!Array.isArray(value)) return [this.#unknown(at, "a list is needed")];
    return value.map((part, index) => read(part, `${at}.${index}`));
  }

  #unknown(at: string, why: string): Condition {
    this.#noteProblem(at, `${why}: it grants nothing`);
    return UNKNOWN;
  }
}

const onDocument = (filter: Filter, claims: readonly string[] = []): Condition => ({
  is: "document",
  filter,
  claims,
});
const onUser = (claim: string, operand: unknown): Condition => ({
  is: "user",
  when: { [`%%user.${claim}`]: operand },
});
const placeholder = ({ claim, asOid }: User) => `%%${asOid ? "oid:" : ""}user.${claim}`;

/** One value, as JSON or Extended JSON has it. */
function isScalar(value: unknown): boolean {
  if (value === null || value === undefined || Array.isArray(value)) return false;
  return !isPlainObject(value) || Object.keys(value)[0]?.startsWith("$") === true;
}

/** `{ $oid: … }` and `{ "%stringToOid": … }` are values, although they look like operators. */
function isOneValue(value: unknown, around: Surroundings): boolean {
  const names = isPlainObject(value) ? Object.keys(value) : [];
  if (names.length !== 1) return false;
  return (
    /^%(?:stringToOid|oidToString)$/.test(names[0] ?? "") ||
    (readValue(value, around).is === "value" && !hasExpansion(value))
  );
}
