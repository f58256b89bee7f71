/**
 * Stores the keys that seal tickets. A client may reconnect to any node, so all nodes share them, and rotation keeps
 * the previous key so that outstanding tickets stay valid.
 */
import { randomBytes } from "node:crypto";
import { Binary, type Collection } from "mongodb";
import { MAJORITY_READ, MAJORITY_WRITE, NoMajorityError } from "./majority.ts";
import type { StateDatabase } from "./state-database.ts";

/** A key that seals tickets (AES-256-GCM), with the short id that a ticket carries unencrypted. */
export interface SealingKey {
  /** 1 to 255. It grows by one with each rotation, and starts over after 255. */
  readonly id: number;
  readonly key: Uint8Array;
}

interface SealingKeysDocument {
  _id: "tickets";
  keys: { id: number; key: Binary; createdAt: Date }[];
}

/** The newest key seals. The one before it still opens tickets. */
const VALID_KEYS = 2;

/** The sealing keys, in the state database: tickets are valid on every node and after a restart. */
export class SealingKeyStore {
  readonly #database: StateDatabase;

  constructor(stateDatabase: StateDatabase) {
    this.#database = stateDatabase;
  }

  get #collection(): Collection<SealingKeysDocument> {
    return this.#database.collection<SealingKeysDocument>("keys");
  }

  /** The valid keys, newest first. Creates the first one. */
  async load(): Promise<SealingKey[]> {
    const saved = await this.#read();
    if (saved !== null) return toKeys(saved);
    const first = nextKeys([]);
    if (await this.#insert(first)) return toKeys(first);
    const others = await this.#read();
    if (others === null) throw new NoMajorityError("no majority has confirmed the sealing keys yet");
    return toKeys(others);
  }

  /** Adds a new key in front. The previous one still opens tickets until the next rotation. */
  async rotate(): Promise<SealingKey[]> {
    await this.load();
    for (;;) {
      const saved = await this.#read();
      const next = nextKeys(saved?.keys ?? []);
      // If two rotations run at once, one of them matches nothing, repeats, and puts its key in front of the other's.
      const inPlace = { _id: "tickets" as const, "keys.0.id": saved?.keys[0]?.id };
      const { matchedCount } = await this.#collection.replaceOne(inPlace, next, MAJORITY_WRITE);
      if (matchedCount === 1) return toKeys(next);
    }
  }

  #read(): Promise<SealingKeysDocument | null> {
    return this.#collection.findOne({ _id: "tickets" }, MAJORITY_READ);
  }

  async #insert(document: SealingKeysDocument): Promise<boolean> {
    try {
      await this.#collection.insertOne(document, MAJORITY_WRITE);
      return true;
    } catch (error) {
      if ((error as { code?: number }).code === 11_000) return false;
      throw error;
    }
  }
}

function nextKeys(keys: SealingKeysDocument["keys"]): SealingKeysDocument {
  const id = ((keys[0]?.id ?? 0) % 255) + 1;
  const next = { id, key: new Binary(randomBytes(32)), createdAt: new Date() };
  return { _id: "tickets", keys: [next, ...keys].slice(0, VALID_KEYS) };
}

const toKeys = (saved: SealingKeysDocument): SealingKey[] =>
  saved.keys.map(({ id, key }) => ({ id, key: key.value() }));
