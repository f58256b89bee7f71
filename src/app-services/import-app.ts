/** An app of App Services becomes a configuration, and a list of what is not in it. */
import { Document, isCollection, isScalar, visit } from "yaml";
import { parseConfig } from "../config/config.ts";
import { isPlainObject } from "../match/read-literal.ts";
import { decide, type RuleText } from "./decide.ts";
import type { Surroundings } from "./operands.ts";
import { type ImportProblem, Report, type Tell } from "./problems.ts";
import { type CollectionFile, type DataSource, type ExportedApp, readApp } from "./read-app.ts";
import { type QueryFilter, readQueryFilter } from "./read-filter.ts";
import { readRole } from "./read-role.ts";

/** How an exported app is to be converted. */
export interface ImportOptions {
  /** Which cluster, where the app has several. */
  readonly dataSource?: string;
  /** What `%%environment` stands for. */
  readonly environment?: string;
  /** Paths of App Services' user object and the claims that take their place; the longest that fits counts. */
  readonly claims?: ReadonlyMap<string, string>;
  /** Lets `_id` show where a role hides it: here it always shows. */
  readonly allowId?: boolean;
}

/** The result of a conversion. */
export interface Imported {
  /** The configuration as YAML; `undefined` where nothing is left of it. */
  readonly config: string | undefined;
  readonly problems: readonly ImportProblem[];
  /** What tokens have to say of their users. */
  readonly claims: readonly string[];
}

/** An option names something that the app does not have, or has to name one of several. */
export class ImportRefused extends Error {
  override readonly name = "ImportRefused";
}

/**
 * Reads an exported app.
 * @throws {ImportRefused} And whatever the file system throws where there is no such folder.
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
    throw new ImportRefused(`a service follows one MongoDB. Say which with --data-source: ${names}`);
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

/** Names that every app has, whether its folder says so or not; the first is that of an app without one. */
const ENVIRONMENTS = ["no-environment", "development", "testing", "qa", "production"];

/** A name that is misspelt would be another environment, in which other roles apply. */
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
    (kind: string, name: string): Tell =>
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
  const tell = (name: string, at: string, message: string) =>
    tellOf(isFilter(name) ? "filter" : "role", name)(at, message);
  const rules = decide({ roles, filters, options: { allowId }, tell });
  if (rules === undefined) {
    report.add({ file: file.file, at: place, message: "the roles come to more than 64 rules: left out" });
  } else if (rules.length === 0) {
    report.add({ file: file.file, at: place, message: "nobody may read it: left out" });
  }
  return rules ?? [];
}

/** As clients will name it: the collection's own name, unless two databases have one of it. */
function nameFor({ database, collection }: CollectionFile, { collections }: DataSource): string {
  const isAlone = collections.filter((other) => other.collection === collection).length === 1;
  return isAlone ? collection : `${database}_${collection}`;
}

/** Leaves out, and tells, what the service would not take: a query may hold more than it judges exactly. */
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

/** Long enough for the check, and never used. */
const CHECK_ENV = {
  MONGODB_URI: "mongodb://127.0.0.1:27017/?replicaSet=rs0",
  TIDEWIRE_JWT_SECRET: "-".repeat(32),
};

const HEADER = `# From an app of Atlas App Services, by tidewire import-app-services.
# What could not be taken over was told then, and nobody sees it. Before it serves: tidewire check, and rule tests.
`;

/** Parts of a rule that are read as one. */
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

/** What stands in the export means itself, whatever the configuration would make of it. */
function escaped(value: unknown): unknown {
  if (typeof value === "string") return value.replaceAll("${", () => "$${");
  if (Array.isArray(value)) return value.map(escaped);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, escaped(inner)]));
}

/** The claims that rules ask for. */
function claimsOf(rules: unknown): string[] {
  const named = Array.from(
    JSON.stringify(rules).matchAll(/"%%(?:oid:)?user\.([^"]+)"/g),
    ([, claim = ""]) => claim,
  );
  return [...new Set(named)].sort();
}
