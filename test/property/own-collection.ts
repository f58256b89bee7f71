import { MongoClient } from "mongodb";
import { afterAll } from "vitest";
import { sharedMongod } from "../support/mongod.ts";
import { insertRaw } from "../support/raw-insert.ts";

/**
 * Makes a collection in a database of the calling file's own, which is dropped after the tests of the file. For use at
 * the top of a file.
 * @param name Begins the name of the database.
 */
export async function ownCollection(name: string) {
  const uri = sharedMongod();
  const client = await MongoClient.connect(uri);
  const db = client.db(`${name}-${process.pid}-${Date.now()}`);
  const collection = db.collection("documents");
  afterAll(async () => {
    await db.dropDatabase();
    await client.close();
  });
  /** Inserts documents as they are, without the checks of the driver. */
  const insert = (documents: readonly Uint8Array[]) =>
    insertRaw(uri, db.databaseName, collection.collectionName, documents);
  return { db, collection, insert };
}
