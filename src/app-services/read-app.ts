/** The files of an exported app, as `appservices pull` and "Export App" leave them. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { isPlainObject } from "../match/read-literal.ts";
import type { Report } from "./problems.ts";

type Entries = Readonly<Record<string, unknown>>;

/** The rules of one collection. */
export interface CollectionFile {
  readonly file: string;
  readonly database: string;
  readonly collection: string;
  readonly roles: readonly Entries[];
  readonly filters: readonly Entries[];
}

/** A cluster of the app, with the rule files of its collections. */
export interface DataSource {
  readonly name: string;
  readonly collections: readonly CollectionFile[];
}

/** The parts of an exported app that the conversion uses. */
export interface ExportedApp {
  readonly sources: readonly DataSource[];
  /** By name; `undefined` for a secret. */
  readonly values: ReadonlyMap<string, unknown>;
  /** By the name of the environment. */
  readonly environments: ReadonlyMap<string, Entries>;
}

/** Reads the folder. Unreadable files are reported and grant nothing. @throws If there is no folder. */
export async function readApp(directory: string, report: Report): Promise<ExportedApp> {
  await readdir(directory);
  const folder = new AppFolder(directory, report);
  const values = new Map<string, unknown>();
  for (const name of await folder.files("values")) {
    const value = await folder.json(`values/${name}`);
    if (value && value["from_secret"] !== true) {
      values.set(String(value["name"] ?? withoutEnding(name)), value["value"]);
    }
  }
  const environments = new Map<string, Entries>();
  for (const name of await folder.files("environments")) {
    const environment = await folder.json(`environments/${name}`);
    if (environment) environments.set(withoutEnding(name), environment);
  }
  await folder.reportSync();
  return { sources: await folder.sources(), values, environments };
}

const withoutEnding = (name: string) => name.replace(/\.json$/, "");

class AppFolder {
  readonly #directory: string;
  readonly #report: Report;

  constructor(directory: string, report: Report) {
    this.#directory = directory;
    this.#report = report;
  }

  /** `undefined` if the file is missing; `null` if it is not valid, which is reported. */
  async json(file: string): Promise<Entries | null | undefined> {
    let text: string;
    try {
      text = await readFile(join(this.#directory, file), "utf8");
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
    try {
      const value: unknown = JSON.parse(text);
      if (isPlainObject(value)) return value;
    } catch {
      // Reported below, together with JSON that is not an object.
    }
    this.#report.add({ file, at: "", message: "not a JSON object: it grants nothing" });
    return null;
  }

  files(folder: string): Promise<string[]> {
    return this.#names(folder, (entry) => entry.isFile() && entry.name.endsWith(".json"));
  }

  async sources(): Promise<DataSource[]> {
    const found: DataSource[] = [];
    for (const root of ["data_sources", "services"]) {
      for (const name of await this.#folders(root)) {
        const source = await this.#source(`${root}/${name}`, name);
        if (source !== undefined) found.push(source);
      }
    }
    return found;
  }

  /** Partition-based sync keeps its own permissions in another format. */
  async reportSync(): Promise<void> {
    const file = "sync/config.json";
    const sync = await this.json(file);
    if (!sync) return;
    if (sync["permissions"] !== undefined || isPlainObject(sync["partition"])) {
      const message = "permissions of the older kinds of sync are not converted; export the app once more";
      this.#report.add({ file, at: "permissions", message });
    }
  }

  async #source(path: string, name: string): Promise<DataSource | undefined> {
    const config = await this.json(`${path}/config.json`);
    const type = config?.["type"] ?? "mongodb-atlas";
    if (type !== "mongodb-atlas" && type !== "mongodb") {
      if (path.startsWith("data_sources/"))
        this.#noteProblem(`${path}/config.json`, `of the type ${type}: left out`);
      return undefined;
    }
    const fallback = await this.#fallback(`${path}/default_rule.json`);
    const collections: (CollectionFile | undefined)[] = [];
    for (const name of await this.files(`${path}/rules`)) {
      const file = `${path}/rules/${name}`;
      const [database = "", ...rest] = withoutEnding(name).split(".");
      collections.push(this.#ruled(file, database, rest.join("."), await this.json(file)));
    }
    for (const database of await this.#folders(path)) {
      for (const collection of await this.#folders(`${path}/${database}`)) {
        const file = `${path}/${database}/${collection}/rules.json`;
        const rules = await this.json(file);
        const own = this.#ruled(file, database, collection, rules === undefined ? {} : rules);
        collections.push(own && withDefaults(own, fallback));
      }
    }
    if (collections.length === 0) return undefined;
    return { name, collections: this.#onlyOnce(collections.filter((file) => file !== undefined)) };
  }

  async #fallback(file: string): Promise<CollectionFile | undefined> {
    const rules = await this.json(file);
    if (rules === undefined) return undefined;
    this.#noteProblem(
      file,
      "applies to every collection without rules, but only those with a folder are known here",
    );
    return this.#ruled(file, "", "", rules);
  }

  /** The rules of a file, all or none: a rule that is left out might be the one that forbids access. */
  #ruled(
    file: string,
    database: string,
    collection: string,
    rules: Entries | null | undefined,
  ): CollectionFile | undefined {
    if (!rules) return undefined;
    const roles = objects(rules["roles"]);
    const filters = objects(rules["filters"]);
    if (roles === undefined || filters === undefined) {
      this.#noteProblem(file, "roles and filters have to be lists of objects: left out");
      return undefined;
    }
    return {
      file,
      database: String(rules["database"] ?? database),
      collection: String(rules["collection"] ?? collection),
      roles,
      filters,
    };
  }

  /** If two files have rules for one collection, it is unknown which applies. */
  #onlyOnce(files: readonly CollectionFile[]): CollectionFile[] {
    const nameOf = ({ database, collection }: CollectionFile) => `${database}.${collection}`;
    return files.filter((file) => {
      const isAlone = files.every((other) => other === file || nameOf(other) !== nameOf(file));
      if (!isAlone) this.#noteProblem(file.file, `another file has rules for ${nameOf(file)}, too: left out`);
      return isAlone;
    });
  }

  #noteProblem(file: string, message: string): void {
    this.#report.add({ file, at: "", message });
  }

  #folders(folder: string): Promise<string[]> {
    return this.#names(folder, (entry) => entry.isDirectory());
  }

  async #names(
    folder: string,
    wanted: (entry: { name: string; isFile(): boolean; isDirectory(): boolean }) => boolean,
  ): Promise<string[]> {
    try {
      const entries = await readdir(join(this.#directory, folder), { withFileTypes: true });
      return entries
        .filter(wanted)
        .map(({ name }) => name)
        .sort();
    } catch (error) {
      if (isMissing(error)) return [];
      throw error;
    }
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR");
}

/** A collection without roles uses those of its data source. The filters of both can only restrict. */
function withDefaults(collection: CollectionFile, fallback: CollectionFile | undefined): CollectionFile {
  if (collection.roles.length > 0 || fallback === undefined) return collection;
  const filters = [...collection.filters, ...fallback.filters];
  return { ...collection, file: fallback.file, roles: fallback.roles, filters };
}

/** `undefined` unless it is a list of objects. A missing list is empty. */
function objects(value: unknown = []): Entries[] | undefined {
  return Array.isArray(value) && value.every(isPlainObject) ? value : undefined;
}
