/**
 * Whether a document matches the filter of a query, as far as the client can know. The service decides; this is for the
 * time until its answer arrives. `undefined` is the answer where the client cannot know.
 */
import { operandsOf } from "../operands.ts";
import type { Doc } from "../result-set.ts";
import { classOf, compareValues, plainOf, valuesAt } from "../values.ts";

type Answer = boolean | undefined;

/** The client's knowledge of the documents that it judges. */
export interface Knowledge {
  /** Whether the client sees what is at a path. */
  readonly isVisible: (path: string) => boolean;
  /** `false`: the backend may add fields that the document lacks. */
  readonly isComplete: boolean;
}

const not = (answer: Answer): Answer => (answer === undefined ? undefined : !answer);

function every(answers: readonly Answer[]): Answer {
  if (answers.includes(false)) return false;
  return answers.includes(undefined) ? undefined : true;
}

const some = (answers: readonly Answer[]): Answer => not(every(answers.map(not)));

/** Whether a document matches a filter in Extended JSON. */
export function matches(filter: object | undefined, doc: Doc, knowledge: Knowledge): Answer {
  return every(
    Object.entries(filter ?? {}).map(([key, condition]) => {
      if (!key.startsWith("$")) return matchesPath(doc, key, condition, knowledge);
      const answers = (condition as object[]).map((part) => matches(part, doc, knowledge));
      if (key === "$and") return every(answers);
      if (key === "$or") return some(answers);
      return key === "$nor" ? not(some(answers)) : undefined;
    }),
  );
}

function matchesPath(doc: Doc, path: string, condition: unknown, knowledge: Knowledge): Answer {
  if (!knowledge.isVisible(path)) return undefined;
  const values = valuesAt(doc, path.split("."));
  if (values.length === 0 && !knowledge.isComplete) return undefined;
  return isOperators(condition) ? matchesAll(values, condition) : matchesOne(values, "$eq", condition);
}

const isOperators = (condition: unknown): condition is Record<string, unknown> =>
  classOf(condition) === "object" && Object.keys(condition as object)[0]?.startsWith("$") === true;

const matchesAll = (values: readonly unknown[], operators: Record<string, unknown>): Answer =>
  every(Object.entries(operators).map(([operator, operand]) => matchesOne(values, operator, operand)));

/** @param values The values at the path; none if it is missing. */
function matchesOne(values: readonly unknown[], operator: string, operand: unknown): Answer {
  const candidates = values.flatMap((value) => (Array.isArray(value) ? [value, ...value] : [value]));
  const any = (test: (value: unknown) => Answer) => some(candidates.map(test));
  switch (operator) {
    case "$eq":
      return classOf(operand) === "null" && values.length === 0
        ? true
        : any((value) => isEqual(value, operand));
    case "$in":
      return some((operand as unknown[]).map((item) => matchesOne(values, "$eq", item)));
    case "$ne":
      return not(matchesOne(values, "$eq", operand));
    case "$nin":
      return not(matchesOne(values, "$in", operand));
    case "$not":
      return isOperators(operand) ? not(matchesAll(values, operand)) : undefined;
    case "$gt":
    case "$gte":
    case "$lt":
    case "$lte":
      return any((value) => isOrdered(value, operator, operand));
    case "$exists":
      return values.length > 0 === Boolean(operand);
    case "$size":
      return some(values.map((value) => Array.isArray(value) && value.length === operand));
    case "$all":
      return every((operand as unknown[]).map((item) => matchesOne(values, "$eq", item)));
    default:
      // The others are rare in the queries of pages, and the client need not know.
      return undefined;
  }
}

/** The operand in the form of the value: where documents hold text for an ObjectId or a date, the operand is text too. */
function alike(value: unknown, operand: unknown): unknown {
  if (typeof value !== "string" || typeof operand === "string") return operand;
  const mayBe = operandsOf(value, "json").map(classOf);
  return classOf(operand) !== "number" && mayBe.includes(classOf(operand)) ? plainOf(operand) : operand;
}

/** In the mode `"json"`, text may be a number that JavaScript cannot hold. */
const isLongText = (value: unknown, operand: unknown) =>
  classOf(operand) === "number" && typeof value === "string" && /^-?\d/.test(value);

function isEqual(value: unknown, operand: unknown): Answer {
  const other = alike(value, operand);
  const kind = classOf(value);
  if (kind !== classOf(other)) {
    const isUnknown = kind === "object" || classOf(other) === "regex" || isLongText(value, other);
    return isUnknown ? undefined : false;
  }
  if (kind === "object" || kind === "array") return JSON.stringify(value) === JSON.stringify(other);
  return compareValues(value, other) === 0;
}

/** Values of different types are in no order, for a filter. */
function isOrdered(value: unknown, operator: string, operand: unknown): Answer {
  const other = alike(value, operand);
  const kind = classOf(value);
  if (kind !== classOf(other)) return isLongText(value, other) ? undefined : false;
  if (kind === "object" || kind === "array") return undefined;
  const order = compareValues(value, other);
  if (order === 0) return operator.endsWith("e");
  return operator.startsWith("$g") ? order > 0 : order < 0;
}
