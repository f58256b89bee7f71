/**
 * Parses the filter of a client or a rule into our own tree. Anything that is not understood exactly is refused by
 * name, because a condition that was ignored or misunderstood would show documents that the author wanted to exclude.
 */
import { amount } from "../protocol/amount.ts";
import { TidewireError } from "../protocol/errors.ts";
import { type BsonValue, fromJs } from "./bson-value.ts";
import { closest } from "./did-you-mean.ts";
import type {
  ComparisonOperator,
  Filter,
  FilterTemplate,
  ListOperator,
  LogicalOperator,
  Operand,
  OperandList,
  Placeholder,
  PredicateTemplate,
} from "./filter.ts";
import { readExists, readMod, readSize, readTypes } from "./operator-arguments.ts";
import { quote, walkFault } from "./paths.ts";
import { isPlainObject, isWrapperKey, LiteralRefused, readLiteral } from "./read-literal.ts";
import { compileRegex, type RegexDialect } from "./regex.ts";
import { RegexRefused } from "./regex-parser.ts";

/** The dialect and the limits of a filter. */
export interface FilterOptions {
  /** Clients may use prefixes only, rules a larger subset. */
  readonly regex: RegexDialect;
  /** Maximum nesting of `$and $or $nor $not $elemMatch`. Default: 5. */
  readonly maxDepth?: number;
  /** Maximum number of operators on paths. Default: 50. */
  readonly maxPredicates?: number;
  /** Maximum number of scalars in operands. Default: 1,000. */
  readonly maxValues?: number;
  /** Converts a written key into the path that it means. It may throw. */
  readonly path?: (key: string) => string;
  /**
   * Receives each refusal, and the parser continues with the next part; the result is then unusable. If unset, the
   * parser throws the first one.
   */
  readonly onRefused?: (error: TidewireError) => void;
}

/** The options of a filter in which claims may occur. */
export interface TemplateOptions extends FilterOptions {
  /** Distinguishes strings that name a claim from ordinary ones. It may throw. */
  readonly placeholder: (text: string) => Placeholder | undefined;
}

/**
 * Parses a filter without placeholders.
 * @throws {TidewireError} `bad-filter`; `details` has `at` (the location), and `path` and `operator` if there is one.
 */
export function parseFilter(input: unknown, options: FilterOptions): Filter {
  // Without a `placeholder` function the parser makes no placeholders, so the template is a filter.
  return new FilterParser(options, undefined).parse(input) as Filter;
}

/**
 * Like `parseFilter`. A string for which `placeholder` returns a value is replaced by that.
 * @throws {TidewireError} `bad-filter`
 */
export function parseFilterTemplate(input: unknown, options: TemplateOptions): FilterTemplate {
  return new FilterParser(options, options.placeholder).parse(input);
}

/** Whatever the options are, recursion must stay far from the end of the stack. */
const STACK_DEPTH = 100;

/** The position of the parser, for errors, and the number of levels around it. */
interface Location {
  readonly at: string;
  readonly depth: number;
  readonly path?: string;
  readonly operator?: string;
}

const LOGICAL: ReadonlySet<string> = new Set<LogicalOperator>(["$and", "$or", "$nor"]);
const COMPARISONS: ReadonlySet<string> = new Set<ComparisonOperator>([
  "$eq",
  "$ne",
  "$gt",
  "$gte",
  "$lt",
  "$lte",
]);
const LISTS: ReadonlySet<string> = new Set<ListOperator>(["$in", "$nin", "$all"]);

/** Every operator on a path, to suggest the one that was most likely meant. */
const OPERATORS: ReadonlySet<string> = new Set([
  ...COMPARISONS,
  ...LISTS,
  ...["$exists", "$type", "$size", "$mod", "$regex", "$options", "$not", "$elemMatch"],
]);

function guess(word: string, known: ReadonlySet<string>): string {
  const near = closest(word, [...known]);
  return near === undefined ? "" : ` (did you mean ${near}?)`;
}

// Type guards, because `Set.has` does not narrow a string.
const isLogical = (key: string): key is LogicalOperator => LOGICAL.has(key);
const isComparison = (key: string): key is ComparisonOperator => COMPARISONS.has(key);
const isList = (key: string): key is ListOperator => LISTS.has(key);

type Entries = Readonly<Record<string, unknown>>;

class FilterParser {
  readonly #options: FilterOptions;
  readonly #placeholder: ((text: string) => Placeholder | undefined) | undefined;
  readonly #maxDepth: number;
  #predicatesLeft: number;
  #valuesLeft: number;

  constructor(options: FilterOptions, placeholder: ((text: string) => Placeholder | undefined) | undefined) {
    this.#options = options;
    this.#placeholder = placeholder;
    this.#maxDepth = Math.min(options.maxDepth ?? 5, STACK_DEPTH);
    this.#predicatesLeft = options.maxPredicates ?? 50;
    this.#valuesLeft = options.maxValues ?? 1_000;
  }

  parse(input: unknown): FilterTemplate {
    return this.#filter(input, { at: "", depth: 0 });
  }

  #filter(input: unknown, location: Location): FilterTemplate {
    if (!isPlainObject(input)) throw refusal("a filter must be an object", location);
    const keys = Object.keys(input);
    // An empty branch also costs a step of every evaluation.
    if (keys.length === 0 && location.depth > 0) this.#countPredicate(location);
    const filters = keys.flatMap((key) => this.#attempt(() => this.#entry(key, input[key], location)));
    const [only] = filters;
    return filters.length === 1 && only !== undefined ? only : { op: "$and", filters, implicit: true };
  }

  /** Parses one part of a filter. Its refusal need not be the only one that is reported. */
  #attempt<T>(parse: () => readonly T[]): readonly T[] {
    const { onRefused } = this.#options;
    try {
      return parse();
    } catch (error) {
      if (onRefused === undefined || !(error instanceof TidewireError)) throw error;
      onRefused(error);
      return [];
    }
  }

  #entry(key: string, value: unknown, location: Location): readonly FilterTemplate[] {
    if (isLogical(key)) return [this.#logical(key, value, inside(location, key, { operator: key }))];
    if (key.startsWith("$")) {
      const text = `${quote(key)} is not supported at the top of a filter${guess(key, LOGICAL)}`;
      // Version 1 of the protocol names the object that contains the key. The problems of a rule need a location each.
      const here = this.#options.onRefused === undefined ? location : inside(location, key, {});
      throw refusal(text, { ...here, operator: key });
    }
    const path = this.#options.path?.(key) ?? key;
    const here = inside(location, key, { path });
    const fault = walkFault(path);
    if (fault !== undefined) throw refusal(`the path ${quote(key)} ${fault}`, here);
    return this.#onPath(value, here).map((predicate) => ({ op: "path", path, predicate }));
  }

  #logical(op: LogicalOperator, value: unknown, location: Location): FilterTemplate {
    const deeper = this.#descend(location);
    if (!Array.isArray(value) || value.length === 0)
      throw refusal(`${op} needs an array that is not empty`, location);
    return { op, filters: value.map((branch, i) => this.#filter(branch, inside(deeper, String(i), {}))) };
  }

  /** Parses the value of a path: operators, a regular expression, or the value that the field must equal. */
  #onPath(value: unknown, location: Location): readonly PredicateTemplate[] {
    if (isPlainObject(value)) {
      const first = Object.keys(value)[0] ?? "";
      if (first === "$regularExpression") return [this.#regex(value, "", location)];
      if (first.startsWith("$") && !isWrapperKey(first)) return this.#operators(value, location);
    }
    this.#countPredicate(location);
    return [{ op: "$eq", value: this.#operand(value, location) }];
  }

  #operators(operators: Entries, location: Location): readonly PredicateTemplate[] {
    return Object.keys(operators).flatMap((key) =>
      this.#attempt(() => {
        const here = inside(location, key, { operator: key });
        if (key === "$regex") return [this.#regex(operators[key], operators["$options"] ?? "", here)];
        if (key !== "$options") return this.#operator(key, operators[key], here);
        if (!Object.hasOwn(operators, "$regex")) throw refusal("$options needs a $regex", here);
        return [];
      }),
    );
  }

  #operator(key: string, value: unknown, location: Location): readonly PredicateTemplate[] {
    if (key === "$not") return [this.#not(value, location)];
    if (key === "$elemMatch") return [this.#elemMatch(value, location)];
    if (key === "$all" && isElemMatch(Array.isArray(value) ? value[0] : undefined)) {
      return this.#allElemMatch(value, location);
    }
    this.#countPredicate(location);
    if (isComparison(key)) return [{ op: key, value: this.#operand(value, location) }];
    if (isList(key)) return [{ op: key, values: this.#operands(value, location) }];
    return [this.#argument(key, value, location)];
  }

  /** Parses the operators that take arguments instead of values of the document. */
  #argument(key: string, value: unknown, location: Location): PredicateTemplate {
    const read = (argument: unknown) => this.#literal(argument, location);
    try {
      if (key === "$exists") return { op: key, exists: readExists(read(value)) };
      if (key === "$size") return { op: key, size: readSize(read(value)) };
      if (key === "$type") return { op: key, types: readTypes(list(value).map(read)) };
      if (key === "$mod") return { op: key, ...readMod(list(value).map(read)) };
    } catch (cause) {
      throw cause instanceof LiteralRefused ? refusal(`${key} ${cause.message}`, location, cause) : cause;
    }
    throw refusal(`the operator ${quote(key)} is not supported${guess(key, OPERATORS)}`, location);
  }

  #not(value: unknown, location: Location): PredicateTemplate {
    const deeper = this.#descend(location);
    const first = isPlainObject(value) ? Object.keys(value)[0] : undefined;
    if (first === "$regularExpression") return { op: "$not", predicates: [this.#regex(value, "", deeper)] };
    if (!isPlainObject(value) || !first?.startsWith("$") || isWrapperKey(first)) {
      throw refusal("$not needs an object of operators", location);
    }
    return { op: "$not", predicates: this.#operators(value, deeper) };
  }

  #elemMatch(value: unknown, location: Location): PredicateTemplate {
    const deeper = this.#descend(location);
    const first = isPlainObject(value) ? (Object.keys(value)[0] ?? "") : "";
    if (!isPlainObject(value) || isWrapperKey(first)) throw refusal("$elemMatch needs an object", location);
    if (first.startsWith("$") && !isLogical(first)) {
      return { op: "$elemMatchValue", predicates: this.#operators(value, deeper) };
    }
    return { op: "$elemMatch", filter: this.#filter(value, deeper) };
  }

  /** All of several `$elemMatch` must hold, which is also the meaning of several predicates on one path. */
  #allElemMatch(value: unknown, location: Location): readonly PredicateTemplate[] {
    return list(value).map((element, i) => {
      if (!isElemMatch(element)) throw refusal("$all takes either values or only $elemMatch", location);
      return this.#elemMatch(element["$elemMatch"], inside(location, `${i}.$elemMatch`, {}));
    });
  }

  #regex(value: unknown, options: unknown, location: Location): PredicateTemplate {
    this.#countPredicate(location);
    this.#countValue(location);
    const wrapped = isPlainObject(value) ? value["$regularExpression"] : undefined;
    const written = isPlainObject(wrapped) ? wrapped : { pattern: value, options };
    const { pattern, options: flags } = written;
    const keys =
      Object.keys(written).length + (wrapped === undefined ? 0 : Object.keys(value ?? {}).length - 1);
    if (
      typeof pattern !== "string" ||
      typeof flags !== "string" ||
      keys !== 2 ||
      (wrapped && options !== "")
    ) {
      throw refusal(
        "a regular expression needs a pattern and options, both strings, and nothing else",
        location,
      );
    }
    if (this.#placeholder?.(pattern) !== undefined) {
      throw refusal("a claim cannot be a regular expression", location);
    }
    try {
      compileRegex(pattern, flags, this.#options.regex);
    } catch (cause) {
      if (!(cause instanceof RegexRefused)) throw cause;
      throw refusal(`the regular expression ${cause.message}`, location, cause);
    }
    return { op: "$regex", pattern, options: flags };
  }

  #operands(value: unknown, location: Location): OperandList {
    const placeholder = typeof value === "string" ? this.#placeholder?.(value) : undefined;
    if (placeholder !== undefined) {
      this.#countValue(location);
      return placeholder;
    }
    if (!Array.isArray(value)) throw refusal(`${location.operator} needs an array`, location);
    return value.map((element, i) => this.#operand(element, inside(location, String(i), {})));
  }

  #operand(value: unknown, location: Location): Operand {
    const placeholder = typeof value === "string" ? this.#placeholder?.(value) : undefined;
    if (placeholder === undefined) return this.#literal(value, location);
    this.#countValue(location);
    return placeholder;
  }

  #literal(value: unknown, location: Location): BsonValue {
    const hooks = {
      onValue: () => this.#countValue(location),
      onString: (text: string) => {
        if (this.#placeholder?.(text) === undefined) return;
        throw new LiteralRefused("holds a claim: a claim stands for a whole value, not for a part of one");
      },
    };
    try {
      return fromJs(readLiteral(value, hooks));
    } catch (cause) {
      throw cause instanceof LiteralRefused ? refusal(`the value ${cause.message}`, location, cause) : cause;
    }
  }

  #descend(location: Location): Location {
    if (location.depth >= this.#maxDepth) {
      throw refusal(`the filter is deeper than ${amount(this.#maxDepth, "level")}`, location);
    }
    return { ...location, depth: location.depth + 1 };
  }

  #countPredicate(location: Location): void {
    if (--this.#predicatesLeft < 0) throw refusal("the filter has too many predicates", location);
  }

  #countValue(location: Location): void {
    if (--this.#valuesLeft < 0) throw refusal("the filter has too many values", location);
  }
}

function inside(location: Location, step: string, more: Partial<Location>): Location {
  const short = shorten(step);
  return { ...location, ...more, at: location.at === "" ? short : `${location.at}.${short}` };
}

/** Shortens a client's text to the longest part that an error repeats. */
function shorten(text: string): string {
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [value];
}

function isElemMatch(value: unknown): value is Entries {
  return isPlainObject(value) && Object.keys(value).length === 1 && Object.hasOwn(value, "$elemMatch");
}

function refusal(message: string, location: Location, cause?: unknown): TidewireError {
  const where = location.at === "" ? "" : ` (at ${location.at})`;
  const { at, path, operator } = location;
  const details = {
    at,
    ...(path === undefined ? {} : { path: shorten(path) }),
    ...(operator === undefined ? {} : { operator: shorten(operator) }),
  };
  return new TidewireError("bad-filter", `${message}${where}`, details, { cause });
}
