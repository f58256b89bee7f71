/** Reads the shapes of collections from MongoDB: from their validators, or else from a sample. */
import type { MongoClient } from "mongodb";
import { answerOf } from "../../source/mongo.ts";
import { both, type Shape, UNKNOWN } from "./shape.ts";
import { shapeOfSample } from "./shape-of-sample.ts";
import { shapeOfSchema } from "./shape-of-schema.ts";

/** The shape of a collection, and where it comes from. */
export interface ReadShape {
  readonly shape: Shape;
  readonly origin: string;
  /** Whether the database guarantees the shape. */
  readonly isCertain: boolean;
}

/** How long MongoDB may take for one collection. */
const TIMEOUT_MS = 30_000;

/** @param sampleSize How many documents are read where no validator says what they are. */
export async function readShape(
  client: MongoClient,
  database: string,
  collection: string,
  sampleSize: number,
): Promise<ReadShape> {
  const {
    validator = {},
    validationAction = "error",
    validationLevel = "strict",
  } = await optionsOf(client, database, collection);
  const schemas = schemasOf(validator);
  const isEnforced = validationAction === "error" && validationLevel === "strict";
  if (schemas.length > 0 && isEnforced) {
    const shape = schemas.map(shapeOfSchema).reduce(both, UNKNOWN);
    return {
      shape: await withId(client, database, collection, shape),
      origin: "its validator",
      isCertain: true,
    };
  }
  const documents = await sample(client, database, collection, sampleSize);
  const reason = schemas.length > 0 ? "; its validator is not enforced for all documents" : "";
  const origin = `a sample of ${documents.length} documents, which proves nothing about the others${reason}`;
  return { shape: shapeOfSample(documents), origin, isCertain: false };
}

interface Options {
  readonly validator?: Readonly<Record<string, unknown>>;
  readonly validationAction?: string;
  readonly validationLevel?: string;
}

async function optionsOf(client: MongoClient, database: string, name: string): Promise<Options> {
  const collections = await answerOf(client, (at) => at.db(database).listCollections({ name }).toArray(), {
    timeoutMs: TIMEOUT_MS,
  });
  const [found] = collections;
  return found !== undefined && "options" in found ? ((found.options ?? {}) as Options) : {};
}

/** The schemas that every document must meet. */
function schemasOf(validator: Readonly<Record<string, unknown>>): object[] {
  const { $jsonSchema, $and = [] } = validator as {
    $jsonSchema?: object;
    $and?: Readonly<Record<string, unknown>>[];
  };
  return [...($jsonSchema === undefined ? [] : [$jsonSchema]), ...$and.flatMap(schemasOf)];
}

const sample = (
  client: MongoClient,
  database: string,
  collection: string,
  size: number,
): Promise<unknown[]> =>
  answerOf(
    client,
    (at) =>
      at
        .db(database)
        .collection(collection, { promoteValues: false, bsonRegExp: true })
        .aggregate([{ $sample: { size } }], { maxTimeMS: TIMEOUT_MS })
        .toArray(),
    { timeoutMs: TIMEOUT_MS },
  );

/** Validators often leave out `_id`, which every document has. */
async function withId(
  client: MongoClient,
  database: string,
  collection: string,
  shape: Shape,
): Promise<Shape> {
  if (shape.kind !== "object") return shape;
  const known = shape.fields.get("_id");
  let id = known?.shape ?? UNKNOWN;
  if (id.kind === "unknown") {
    const documents = await sample(client, database, collection, 1);
    const found = shapeOfSample(documents);
    const ofFound = found.kind === "object" ? found.fields.get("_id")?.shape : undefined;
    id = ofFound ?? { kind: "scalar", type: "objectId" };
  }
  const fields = new Map([["_id", { shape: id, isOptional: false }], ...shape.fields]);
  return { kind: "object", fields: fields.set("_id", { shape: id, isOptional: false }) };
}
