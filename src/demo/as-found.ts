import { MongoClient, type Timestamp } from "mongodb";
import type { Config } from "../config/config.ts";
import type { Projection } from "../match/projection-fields.ts";
import { toMongo } from "../match/to-mongo.ts";
import { TidewireError } from "../protocol/errors.ts";
import { authorize } from "../rules/authorize.ts";
import { compileRules } from "../rules/compile-rules.ts";
import { rawField } from "../source/raw-field.ts";
import { COLLECTION } from "./order.ts";
import type { FindAnswer } from "./page-api.ts";
import type { Viewer } from "./viewers.ts";

/** Asks MongoDB itself for the orders that a viewer may see. The page compares them with the orders that it received. */
export class AsFound {
  readonly #client: MongoClient;

  constructor(uri: string) {
    this.#client = new MongoClient(uri, { appName: "demo-page" });
  }

  close(): Promise<void> {
    return this.#client.close();
  }

  async find(config: Config, viewer: Viewer): Promise<FindAnswer> {
    const query = queryOf(config, viewer);
    const answer = await this.#client.db(query?.database ?? config.mongodb.database).command({
      find: COLLECTION,
      ...(query === null ? {} : rawField("filter", toMongo(query.filter))),
      projection: query === null ? {} : projectionOf(query.projection),
      sort: { _id: 1 },
      readConcern: { level: "snapshot" },
    });
    // The server says at which time it has read; the driver's types do not.
    const at = answer["cursor"].atClusterTime as Timestamp;
    return { docs: query === null ? null : answer["cursor"].firstBatch, at: { t: at.t, i: at.i } };
  }
}

function queryOf(config: Config, viewer: Viewer) {
  try {
    return authorize(compileRules(config), { claims: viewer.claims }, { collection: COLLECTION }, Date.now());
  } catch (error) {
    if (error instanceof TidewireError && error.code === "forbidden") return null;
    throw error;
  }
}

/** As `find` takes it. */
function projectionOf({ keepsRest, fields }: Projection, prefix = ""): Record<string, 0 | 1> {
  const paths = Array.from(fields, ([name, part]) =>
    typeof part === "boolean"
      ? { [prefix + name]: part ? (1 as const) : (0 as const) }
      : projectionOf(part, `${prefix + name}.`),
  );
  const all: Record<string, 0 | 1> = Object.assign({}, ...paths);
  // An exclusion keeps every path that it does not name. Naming a path with 1 would make it an inclusion.
  if (keepsRest) for (const [path, shown] of Object.entries(all)) if (shown === 1) delete all[path];
  return all;
}
