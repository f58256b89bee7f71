/** Converts an app of App Services to a configuration and a list of the rules that were not converted. */
import { Document, isCollection, isScalar, visit } from "yaml";
import { parseConfig } from "../config/config.ts";
import { isPlainObject } from "../match/read-literal.ts";
import { decide, type RuleText } from "./decide.ts";
import type { Surroundings } from "./operands.ts";
import { type ImportProblem, type NoteProblem, Report } from "./problems.ts";
import { type CollectionFile, type DataSource, type ExportedApp, readApp } from "./read-app.ts";
import { type QueryFilter, readQueryFilter } from "./read-filter.ts";
import { readRole } from "./read-role.ts";

/** How an exported app is to be converted. */
export interface ImportOptions {
  /** Which cluster, where the app has several. */
  readonly dataSource?: string;
  /** The value of `%%environment`. */
  readonly environment?: string;
  /** Paths of App Services' user object and the claims that replace them. The longest matching path applies. */
  readonly claims?: ReadonlyMap<string, string>;
  /** Accepts that `_id` is visible where a role hides it: Tidewire always shows `_id`. */
  readonly allowId?: boolean;
}

/** The result of a conversion. */
export interface Imported {
  /** The configuration as YAML; `undefined` where nothing is left of it. */
  readonly config: string | undefined;
  readonly problems: readonly ImportProblem[];
  /** The claims that tokens must contain. */
  readonly claims: readonly string[];
}

/** An option names a part that the app does not have, or a required choice is missing. */
export class ImportRefused extends Error {
  override readonly name = "ImportRefused";
}

/**
 * Reads an exported app.
 * @throws {ImportRefused} Errors of the file system pass through, such as for a missing folder.
 */
export async function importApp(directory: string, options: ImportOptions = {}): Promise<Imported> {
  const report = new Report();
  const app = await readApp(directory, report);
  const source = chosen(app, options.dataSource);
  const around = surroundings(app, options);
  const collections = new Map<string, Collection>();
  for (const file of source.collections) {
    const rules = rulesOf(file, around, options, report);
    let name = nameFor(file, source);
    while (collections.has(name)) name += "_2";
    if (rules.length > 0) collections.set(name, { ...file, rules });
  }
  const kept = keepValid(collections, report);
  const problems = report.problems;
  if (kept.size === 0) return { config: undefined, problems, claims: [] };
  const config = toYaml(kept, source);
  return { config, problems, claims: claimsOf([...kept.values()].map(({ rules }) => rules)) };
}

interface Collection extends CollectionFile {
  readonly rules: readonly RuleText[];
}

function chosen({ sources }: ExportedApp, wanted: string | undefined): DataSource {
  const names = sources.map(({ name }) => name).join(", ");
  const [only] = sources;
  const found = wanted === undefined ? only : sources.find(({ name }) => name === wanted);
  if (found === undefined) {
    throw new ImportRefused(
      only === undefined
        ? "no collections under data_sources/ or services/: give the folder of an exported app"
        : `there is no data source ${wanted}. Data sources: ${names}`,
    );
  }
  if (wanted === undefined && sources.length > 1) {
    throw new ImportRefused(
      `a service follows one MongoDB deployment. Choose one with --data-source: ${names}`,
    );
  }
  return found;
}

function surroundings(app: ExportedApp, { environment, claims = new Map() }: ImportOptions): Surroundings {
  const known = new Map([["id", "sub"], ...claims]);
  return {
    values: app.values,
    environment: environment === undefined ? undefined : environmentOf(app, environment),
    claimFor: (path) => {
      const parts = path.split(".");
      for (let length = parts.length; length > 0; length--) {
        const claim = known.get(parts.slice(0, length).join("."));
        if (claim !== undefined) return [claim, ...parts.slice(length)].join(".");
      }
      return path;
    },
  };
}

/** Environment names that every app has, even if its folder does not list them. The first is the default. */
const ENVIRONMENTS = ["no-environment", "development", "testing", "qa", "production"];

/** A misspelt name would select another environment, in which other roles apply. */
function environmentOf({ environments }: ExportedApp, name: string) {
  const names = [...new Set([...ENVIRONMENTS, ...environments.keys()])];
  if (!names.includes(name)) {
    throw new ImportRefused(`there is no environment ${name}. Environments: ${names.join(", ")}`);
  }
  const values = environments.get(name)?.["values"];
  return { tag: name === ENVIRONMENTS[0] ? "" : name, values: isPlainObject(values) ? values : {} };
}

function rulesOf(
  file: CollectionFile,
  around: Surroundings,
  { allowId = false }: ImportOptions,
  report: Report,
): readonly RuleText[] {
  const place = `${file.database}.${file.collection}`;
  const tellOf =
    (kind: string, name: string): NoteProblem =>
    (at, message) =>
      report.add({
        file: file.file,
        at: [place, `${kind} ${JSON.stringify(name)}`, at].filter(Boolean).join(": "),
        message,
      });
  const roles = file.roles.map((role, index) => {
    const name = String(role["name"] ?? `role ${index + 1}`);
    return readRole(name, role, around, tellOf("role", name));
  });
  const filters = file.filters.map((filter, index): QueryFilter => {
    const name = String(filter["name"] ?? `filter ${index + 1}`);
    return readQueryFilter(name, filter, around, { allowId }, tellOf("filter", name));
  });
  const isFilter = (name: string) => !roles.some((role) => role.name === name);
  const noteProblem = (name: string, at: string, message: string) =>
    tellOf(isFilter(name) ? "filter" : "role", name)(at, message);
  const rules = decide({ roles, filters, options: { allowId }, noteProblem });
  if (rules === undefined) {
    report.add({ file: file.file, at: place, message: "the roles amount to more than 64 rules: left out" });
  } else if (rules.length === 0) {
    report.add({ file: file.file, at: place, message: "nobody may read it: left out" });
  }
  return rules ?? [];
}

/** The name for clients: the collection's own name, unless two databases have a collection of that name. */
function nameFor({ database, collection }: CollectionFile, { collections }: DataSource): string {
  const isAlone = collections.filter((other) => other.collection === collection).length === 1;
  return isAlone ? collection : `${database}_${collection}`;
}

/** Leaves out and reports rules that the service would refuse: a query may have operators that Tidewire does not support. */
function keepValid(collections: ReadonlyMap<string, Collection>, report: Report): Map<string, Collection> {
  const kept = new Map<string, Collection>();
  for (const [name, collection] of collections) {
    const alone = toYaml(new Map([[name, collection]]), { name: "", collections: [] });
    const parsed = parseConfig(alone, collection.file, CHECK_ENV);
    if (parsed.ok) kept.set(name, collection);
    else {
      const [problem] = parsed.problems;
      const at = `${collection.database}.${collection.collection}: ${problem?.path ?? ""}`;
      report.add({ file: collection.file, at, message: `${problem?.message ?? "refused"}. Left out` });
    }
  }
  return kept;
}

/** Long enough to pass validation, and never used. */
const CHECK_ENV = {
  MONGODB_URI: "mongodb://127.0.0.1:27017/?replicaSet=rs0",
  TIDEWIRE_JWT_SECRET: "-".repeat(32),
};

const HEADER = `# From an app of Atlas App Services, by tidewire import-app-services.
# Rules that could not be converted were reported then, and grant nothing. Before production use, run tidewire check and rule tests.
`;

/** Parts of a rule that are written on one line. */
const IN_LINE: ReadonlySet<string> = new Set(["jwt", "when", "filter", "fields"]);

function toYaml(collections: ReadonlyMap<string, Collection>, source: DataSource): string {
  const databases = [...collections.values()].map(({ database }) => database);
  const [first = "test"] = databases;
  const entries = [...collections].map(([name, { database, collection, rules }]) => [
    escaped(name),
    {
      ...(database === first ? {} : { database: escaped(database) }),
      ...(collection === name ? {} : { collection: escaped(collection) }),
      rules: rules.map(escaped),
    },
  ]);
  const config = {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the configuration has this syntax for environment variables.
    mongodb: { uri: "${MONGODB_URI}", database: escaped(first) },
    // biome-ignore lint/suspicious/noTemplateCurlyInString: as above.
    auth: { jwt: { algorithms: ["HS256"], secret: "${TIDEWIRE_JWT_SECRET}" } },
    collections: Object.fromEntries(entries),
  };
  const from = source.name === "" ? "" : `# Data source: ${JSON.stringify(source.name)}\n`;
  const document = new Document(config);
  visit(document, {
    Pair(_key, { key, value }) {
      if (!isScalar(key) || !IN_LINE.has(String(key.value)) || !isCollection(value)) return undefined;
      value.flow = true;
      return visit.SKIP;
    },
  });
  return `${HEADER}${from}\n${document.toString({ lineWidth: 110 })}`;
}

/** Escapes the export's strings, so that the configuration does not expand them. */
function escaped(value: unknown): unknown {
  if (typeof value === "string") return value.replaceAll("${", () => "$${");
  if (Array.isArray(value)) return value.map(escaped);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, escaped(inner)]));
}

/** The claims that the rules need. */
function claimsOf(rules: unknown): string[] {
  const named = Array.from(
    JSON.stringify(rules).matchAll(/"%%(?:oid:)?user\.([^"]+)"/g),
    ([, claim = ""]) => claim,
  );
  return [...new Set(named)].sort();
}
