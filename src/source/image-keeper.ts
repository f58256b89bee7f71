import type { Logger } from "pino";
import type { Metrics } from "../metrics/metrics.ts";
import { describeCollection, ensureImages, type ImageState } from "./images.ts";
import { answerOf, type MongoAccess } from "./mongo.ts";

/** `off`: documents are read at the time of each event. */
export type ImagesInUse = "on" | "off";

/** After images could not be switched on, events without them lead to the next attempt no sooner than this; in milliseconds. */
const RETRY_MS = 60_000;
/** `collMod` waits for the operations on the collection that are in progress. In milliseconds. */
const LOOK_TIMEOUT_MS = 60_000;

interface ImageKeeperOptions {
  /** Whether images are wanted. */
  readonly switchOn: boolean;
  /** Called when a collection has become something that no change stream shows. */
  readonly onUnwatchable: (namespace: string) => void;
}

/**
 * Keeps images switched on while the service runs: a collection that was dropped and created again has lost the
 * option, and so has a collection where somebody switched it off. Events in between are handled as they come. Reports by
 * metric and log where images are in use.
 */
export class ImageKeeper {
  readonly #client: MongoAccess;
  readonly #log: Logger;
  readonly #metrics: Metrics;
  readonly #options: ImageKeeperOptions;
  readonly #inUse = new Map<string, ImagesInUse>();
  readonly #looking = new Set<string>();
  readonly #lookedAtMs = new Map<string, number>();

  constructor(client: MongoAccess, log: Logger, metrics: Metrics, options: ImageKeeperOptions) {
    this.#client = client;
    this.#log = log;
    this.#metrics = metrics;
    this.#options = options;
  }

  /** By the name of the collection, with its database. */
  get inUse(): Readonly<Record<string, ImagesInUse>> {
    return Object.fromEntries(this.#inUse);
  }

  /** Collections that are followed from now on, as they were found; the log has reported that already. */
  follow(collections: readonly { readonly namespace: string; readonly images: ImageState }[]): void {
    for (const { namespace, images } of collections) this.#set(namespace, images === "off" ? "off" : "on");
  }

  /** Forgets all other collections. */
  keepOnly(namespaces: readonly string[]): void {
    for (const namespace of this.#inUse.keys()) {
      if (namespaces.includes(namespace)) continue;
      this.#inUse.delete(namespace);
      this.#lookedAtMs.delete(namespace);
      this.#metrics.images.remove({ collection: namespace });
    }
  }

  /** An event came without an image that it needs: somebody may have switched them off. */
  imageMissing(namespace: string): void {
    const lookedAtMs = this.#lookedAtMs.get(namespace) ?? Number.NEGATIVE_INFINITY;
    // Where they are known to be off, each event says so; it is not worth a question each time.
    if (this.#inUse.get(namespace) === "off" && Date.now() < lookedAtMs + RETRY_MS) return;
    this.look(namespace);
  }

  /** Looks at a collection now, unless somebody is looking already. Others of the deployment are left as they are. */
  look(namespace: string): void {
    if (!this.#inUse.has(namespace)) return;
    if (this.#looking.has(namespace)) return;
    this.#looking.add(namespace);
    this.#lookedAtMs.set(namespace, Date.now());
    answerOf(this.#client, () => this.#look(namespace), { timeoutMs: LOOK_TIMEOUT_MS })
      .catch((error: unknown) => {
        this.#log.warn({ err: error, namespace }, "could not determine whether a collection has images");
      })
      .finally(() => this.#looking.delete(namespace));
  }

  async #look(namespace: string): Promise<void> {
    const dot = namespace.indexOf(".");
    const db = this.#client.db(namespace.slice(0, dot));
    const collection = namespace.slice(dot + 1);
    const { type, images } = await describeCollection(db, collection);
    if (type === "missing") return;
    if (type !== "collection") {
      this.#log.error(
        { namespace, type },
        "the collection was replaced by a view or a time-series collection, which cannot be watched",
      );
      this.#options.onUnwatchable(namespace);
      return;
    }
    if (images || !this.#options.switchOn) {
      this.#change(namespace, images ? "on" : "off");
      return;
    }
    try {
      await ensureImages(db, collection);
      this.#change(namespace, "on");
    } catch (error) {
      this.#log.warn({ err: error, namespace }, "images could not be switched on");
      this.#change(namespace, "off");
    }
  }

  #change(namespace: string, images: ImagesInUse): void {
    // An edit may have removed the collection meanwhile.
    if (!this.#inUse.has(namespace) || this.#inUse.get(namespace) === images) return;
    this.#set(namespace, images);
    if (images === "on") this.#log.info({ namespace, images }, "images are on from now on");
    else {
      const text = "images are off from now on: documents are read at the time of each event";
      this.#log.warn({ namespace, images }, text);
    }
  }

  #set(namespace: string, images: ImagesInUse): void {
    this.#inUse.set(namespace, images);
    this.#metrics.images.set({ collection: namespace }, images === "on" ? 1 : 0);
  }
}
