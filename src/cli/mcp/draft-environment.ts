/**
 * The environment for a text that an agent may have written. Filled in with the real variables, rules would reveal them:
 * an explanation shows a filter, and a comparison with a document tells a secret bit by bit.
 */
import { formatPath, isHidden, type Path, readConfigText } from "../../config/config-text.ts";

/** A value in which variables are written. */
interface VariableUse {
  readonly path: Path;
  readonly names: readonly string[];
}

/** Characters for private use, which no configuration contains. */
const BEFORE = "\u{F0000}";
const AFTER = "\u{F0001}";
const MARKED = new RegExp(`${BEFORE}(\\w+)${AFTER}`, "gu");

/** An environment in which every name has a value. */
export const everyName = (lookUp: (name: string) => string | undefined): NodeJS.ProcessEnv =>
  new Proxy({}, { get: (_target, name) => (typeof name === "string" ? lookUp(name) : undefined) });

/** Where a text writes which variables. */
export function variablesIn(text: string): readonly VariableUse[] {
  const source = readConfigText(
    text,
    "",
    everyName((name) => BEFORE + name + AFTER),
  );
  return [...usesIn(source.value, [])];
}

function* usesIn(value: unknown, path: Path): Generator<VariableUse> {
  if (typeof value === "string") {
    const names = Array.from(value.matchAll(MARKED), ([, name = ""]) => name);
    if (names.length > 0) yield { path, names };
  } else if (typeof value === "object" && value !== null) {
    for (const [key, item] of Object.entries(value))
      yield* usesIn(item, [...path, Array.isArray(value) ? Number(key) : key]);
  }
}

/** Whether a value belongs to the rules, which explanations show in any case. */
const isOfRules = ([section, option]: Path): boolean =>
  ["collections", "limits", "rules", "presence"].includes(String(section)) ||
  (section === "mongodb" && option === "database");

/** A draft's environment, and the values that it leaves open. */
export interface DraftEnvironment {
  readonly env: NodeJS.ProcessEnv;
  /** The paths of values that contain a variable which is not filled in. */
  readonly unfilled: ReadonlySet<string>;
}

/**
 * The environment for a draft. It has the real values of those variables only that the rules of the configuration use, and
 * nothing else of it. Any other variable has a stand-in: its own name, or a valid value where a secret belongs.
 * @param started The text of the configuration with which the server was started.
 */
export function draftEnvironment(draft: string, started: string, env: NodeJS.ProcessEnv): DraftEnvironment {
  const ofStarted = variablesIn(started);
  const namesOf = (uses: readonly VariableUse[]) => uses.flatMap(({ names }) => names);
  const elsewhere = new Set(namesOf(ofStarted.filter(({ path }) => !isOfRules(path))));
  const shown = new Set(
    namesOf(ofStarted.filter(({ path }) => isOfRules(path))).filter((name) => !elsewhere.has(name)),
  );
  const unfilled = variablesIn(draft).filter(({ names }) => names.some((name) => !shown.has(name)));
  const standIns = new Map(
    unfilled.flatMap(({ path, names }) => names.map((name) => [name, standIn(path, name)] as const)),
  );
  return {
    env: everyName((name) => (shown.has(name) ? env[name] : standIns.get(name))),
    unfilled: new Set(unfilled.map(({ path }) => formatPath(path))),
  };
}

/** A value with which the rest of the draft can be judged. */
function standIn(path: Path, name: string): string {
  if (!isHidden(path)) return `\${${name}}`;
  const option = String(path.findLast((part) => typeof part === "string"));
  if (option === "uri") return "mongodb://variable.invalid/?replicaSet=rs0";
  return option === "jwksUri" ? "https://variable.invalid" : "0".repeat(64);
}
