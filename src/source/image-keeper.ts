/**
 * Keeps pre- and post-images switched on at run time. The option belongs to a collection and vanishes with it, and it
 * can be switched off by anybody with the right, so the check at the start is not enough.
 */
import type { Logger } from "pino";
import type { Metrics } from "../metrics/metrics.ts";
import { describeCollection, ensureImages, type ImageState } from "./images.ts";
import { answerOf, type MongoAccess } from "./mongo.ts";

/** Whether a collection delivers images. With `off`, documents are read at the time of each event. */
export type ImagesInUse = "on" | "off";

/**
 * After a failed attempt to switch images on, events without images lead to the next attempt no sooner than this. In
 * milliseconds.
 */
const RETRY_MS = 60_000;
/** Limit of one attempt, in milliseconds. `collMod` waits for the operations on the collection that are in progress. */
const LOOK_TIMEOUT_MS = 60_000;

interface ImageKeeperOptions {
  /** Whether the service is to switch images on. */
  readonly switchOn: boolean;
  /** Called when a collection was replaced by a view or a time-series collection, which no change stream shows. */
  readonly onUnwatchable: (namespace: string) => void;
}

/**
 * Keeps images switched on while the service runs: a collection that was dropped and created again has lost the option,
 * and so has a collection where somebody switched it off. Events in between are handled without images. Metric and log
 * report where images are in use.
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

  /** The state of each followed collection, by `database.collection`. */
  get inUse(): Readonly<Record<string, ImagesInUse>> {
    return Object.fromEntries(this.#inUse);
  }

  /**
   * Follows these collections from now on, in the state in which the prerequisite check found them. The log has reported
   * that state already.
   */
  follow(collections: readonly { readonly namespace: string; readonly images: ImageState }[]): void {
    for (const { namespace, images } of collections) this.#set(namespace, images === "off" ? "off" : "on");
  }

  /** Stops following all other collections. */
  keepOnly(namespaces: readonly string[]): void {
    for (const namespace of this.#inUse.keys()) {
      if (namespaces.includes(namespace)) continue;
      this.#inUse.delete(namespace);
      this.#lookedAtMs.delete(namespace);
      this.#metrics.images.remove({ collection: namespace });
    }
  }

  /** Handles an event that came without an image: somebody may have switched images off. */
  imageMissing(namespace: string): void {
    const lookedAtMs = this.#lookedAtMs.get(namespace) ?? Number.NEGATIVE_INFINITY;
    // Where images are known to be off, every event arrives here. One check per `RETRY_MS` is enough.
    if (this.#inUse.get(namespace) === "off" && Date.now() < lookedAtMs + RETRY_MS) return;
    this.look(namespace);
  }

  /** Checks a collection now, unless a check is in progress. Collections that are not followed are left alone. */
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
    // The collection may have been removed by an edit of the configuration meanwhile.
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
