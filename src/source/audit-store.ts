/**
 * Stores what admins did. An entry is written before its act, with a majority, so that no act happens without one. The
 * service only inserts entries, and MongoDB removes them when they expire.
 */
import { type Collection, type Filter, ObjectId } from "mongodb";
import { ExpiryIndex } from "./expiry-index.ts";
import { MAJORITY_READ, MAJORITY_WRITE } from "./majority.ts";
import type { StateDatabase } from "./state-database.ts";

const COLLECTION = "audit";

/** Characters of one text of a target. Some come from clients and from requests, which may be much longer. */
const TEXT_MAX = 500;

/** One act of an admin. */
export interface AuditEntry {
  /** The name of the admin. */
  readonly admin: string;
  readonly act: string;
  /** The object of the act, such as a connection or a user. It holds no documents. */
  readonly target: Readonly<Record<string, string | number | null>>;
  /** The address from which the admin asked. */
  readonly from: string;
}

/** A saved entry. */
export interface AuditRecord extends AuditEntry {
  readonly id: string;
  readonly atMs: number;
  /** The node on which the admin asked. */
  readonly node: string;
}

/** A page of the audit, the latest entries first. */
export interface AuditPage {
  readonly limit: number;
  /** Only entries before the one with this id. */
  readonly before?: string | undefined;
  readonly admin?: string | undefined;
  readonly act?: string | undefined;
}

interface AuditDocument {
  _id: ObjectId;
  at: Date;
  admin: string;
  act: string;
  target: Readonly<Record<string, string | number | null>>;
  from: string;
  node: string;
  expiresAt: Date;
}

/** The audit in the state database. */
export class AuditStore {
  readonly #database: StateDatabase;
  readonly #node: string;
  readonly #keptForMs: number;
  readonly #expiry = new ExpiryIndex();

  /** @param keptForMs How long entries are kept. */
  constructor(stateDatabase: StateDatabase, node: string, keptForMs: number) {
    this.#database = stateDatabase;
    this.#node = node;
    this.#keptForMs = keptForMs;
  }

  get #collection(): Collection<AuditDocument> {
    return this.#database.collection<AuditDocument>(COLLECTION);
  }

  /** Saves an entry. If this fails, the act must not happen. */
  async add({ admin, act, target, from }: AuditEntry, nowMs: number): Promise<void> {
    await this.#expiry.ensure(this.#collection).catch(() => {}); // it only saves space, and the user of a command may lack the right
    const expiresAt = new Date(nowMs + this.#keptForMs);
    const at = new Date(nowMs);
    const entry = { _id: new ObjectId(), at, admin, act, target: cut(target), from, expiresAt };
    await this.#collection.insertOne({ ...entry, node: this.#node }, MAJORITY_WRITE);
  }

  /** Entries, the latest first. */
  async list({ limit, before, admin, act }: AuditPage): Promise<AuditRecord[]> {
    const filter: Filter<AuditDocument> = {
      ...(before === undefined ? {} : { _id: { $lt: new ObjectId(before) } }),
      ...(admin === undefined ? {} : { admin }),
      ...(act === undefined ? {} : { act }),
    };
    const found = this.#collection.find(filter, MAJORITY_READ).sort({ _id: -1 }).limit(limit);
    return (await found.toArray()).map(({ _id, at, expiresAt: _, ...entry }) => ({
      ...entry,
      id: _id.toHexString(),
      atMs: at.getTime(),
    }));
  }
}

/** A target with texts of bounded length. */
const cut = (target: AuditEntry["target"]): AuditEntry["target"] =>
  Object.fromEntries(
    Object.entries(target).map(([name, value]) => [
      name,
      typeof value === "string" && value.length > TEXT_MAX ? `${value.slice(0, TEXT_MAX)}…` : value,
    ]),
  );
