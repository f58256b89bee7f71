/**
 * Pre- and post-images: whether a collection has them, and switching them on (docs/rules.md, section 3). Without them
 * each change costs the service one or two reads.
 */
import { type Db, type Document, MongoServerError } from "mongodb";

/** Whether a collection has pre- and post-images; `switched-on` if the service has just enabled them. */
export type ImageState = "on" | "switched-on" | "off";

/** Error codes of the server, as `src/mongo/base/error_codes.yml` names them. */
const NAMESPACE_NOT_FOUND = 26;
const NAMESPACE_EXISTS = 48;

const OPTION = { changeStreamPreAndPostImages: { enabled: true } } as const;

/** The kind of a collection, and whether its images are on. */
export interface CollectionDescription {
  readonly type: "collection" | "view" | "timeseries" | "missing";
  readonly images: boolean;
}

/** The server's description of a collection. Changes nothing. */
export async function describeCollection(db: Db, collection: string): Promise<CollectionDescription> {
  // Without `nameOnly`, so the answer contains the options. The driver's type allows both.
  const [found] = (await db.listCollections({ name: collection }).toArray()) as Document[];
  if (found === undefined) return { type: "missing", images: false };
  const type = found["type"];
  return {
    type: type === "view" || type === "timeseries" ? type : "collection",
    images: found["options"]?.["changeStreamPreAndPostImages"]?.["enabled"] === true,
  };
}

/**
 * Makes sure that writes from now on carry images. A missing collection is created with them. To be called again after
 * the collection was dropped and created, because the option is lost with it.
 * @throws {MongoServerError} The server is too old, or the user lacks a right (`collMod`, `createCollection`).
 */
export async function ensureImages(db: Db, collection: string): Promise<ImageState> {
  for (;;) {
    const { type, images } = await describeCollection(db, collection);
    if (images) return "on";
    try {
      if (type === "missing") await db.createCollection(collection, OPTION);
      else await db.command({ collMod: collection, ...OPTION });
      return "switched-on";
    } catch (error) {
      // Somebody else created or dropped the collection since it was described, so describe it again.
      const moved = type === "missing" ? NAMESPACE_EXISTS : NAMESPACE_NOT_FOUND;
      if (!(error instanceof MongoServerError && error.code === moved)) throw error;
    }
  }
}
