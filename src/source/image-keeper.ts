import type { MongoClient } from "mongodb";
import type { Logger } from "pino";
import { describeCollection, ensureImages } from "./images.ts";

/**
 * Keeps images switched on while the service runs: a collection that was dropped and made anew has lost the
 * option, and so has one where somebody switched it off. Events in between are dealt with as they come.
 */
export class ImageKeeper {
  readonly #client: MongoClient;
  readonly #log: Logger;
  readonly #switchOn: boolean;
  /** Called when a collection has become something that no change stream shows. */
  onUnwatchable: (namespace: string, type: string) => void = () => {};
  readonly #looking = new Set<string>();

  /** @param switchOn Whether images are wanted. */
  constructor(client: MongoClient, log: Logger, switchOn: boolean) {
    this.#client = client;
    this.#log = log;
    this.#switchOn = switchOn;
  }

  /** Looks at a collection now, unless somebody is looking already. */
  look(namespace: string): void {
    if (this.#looking.has(namespace)) return;
    this.#looking.add(namespace);
    this.#look(namespace)
      .catch((error: unknown) => {
        this.#log.warn(
          { err: error, namespace },
          "images could not be switched on; its documents are read for each change",
        );
      })
      .finally(() => this.#looking.delete(namespace));
  }

  async #look(namespace: string): Promise<void> {
    const dot = namespace.indexOf(".");
    const db = this.#client.db(namespace.slice(0, dot));
    const collection = namespace.slice(dot + 1);
    const { type, images } = await describeCollection(db, collection);
    if (type === "missing" || (type === "collection" && images)) return;
    if (type !== "collection") {
      this.#log.error({ namespace, type }, "the collection has become something that cannot be watched");
      this.onUnwatchable(namespace, type);
      return;
    }
    if (!this.#switchOn) return;
    await ensureImages(db, collection);
    this.#log.info({ namespace }, "images were switched on again");
  }
}
