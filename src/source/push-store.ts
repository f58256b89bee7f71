/**
 * Stores push registrations. Every node writes registrations of its clients, and one node at a time serves those of a
 * partition. That node stamps each document with the fencing number of its lease, and every later write of it names this
 * number, so that a holder that was frozen cannot overwrite the work of its successor.
 */
import { type Binary, type Collection, type Document, Long } from "mongodb";
import { ExpiryIndex } from "./expiry-index.ts";
import { MAJORITY_READ, MAJORITY_TIMEOUT_MS, MAJORITY_WRITE } from "./majority.ts";
import { PushPlaces } from "./push-places.ts";
import type { StateDatabase } from "./state-database.ts";

const COLLECTION = "pushes";

/** The identity with which a registration was made. */
export interface SavedIdentity {
  /** The claims of the token, as JSON: names of claims may be names that BSON documents cannot use. */
  readonly claims: string;
  readonly sub: string;
  readonly subject: string;
  readonly issuedAtMs: number | null;
  readonly tokenId: string | null;
  readonly signedBy: string;
}

/** The request of a registration. */
export interface SavedRequest {
  readonly collection: string;
  /** The filter as JSON, which keeps the order of its keys and names that begin with `$`. */
  readonly filter: string;
  readonly on: readonly string[];
  readonly endpoint: string;
  readonly p256dh: string;
  readonly auth: string;
  /** As JSON; `null` if there is none. */
  readonly data: string | null;
}

/** A push that no push service has accepted yet. Its body is encrypted for the browser. */
export interface SavedPush {
  readonly kind: string;
  readonly body: Uint8Array;
  readonly atMs: number;
  readonly attempts: number;
  readonly dueMs: number;
}

/** A push registration. Times are in epoch milliseconds. */
export interface SavedRegistration {
  readonly id: string;
  readonly partition: number;
  readonly identity: SavedIdentity;
  readonly request: SavedRequest;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
  /** The ticket that proves the rights, and the cursor that was sent with it; `null` to start at the head. */
  readonly start: { readonly cursor: string; readonly ticket: string } | null;
  /** Where to continue, if that is before the position of the partition. */
  readonly behind: string | null;
  readonly pending: SavedPush | null;
  /** Why nothing is sent at the moment; `null` if the registration is served. */
  readonly suspended: string | null;
  /** Random, and new whenever a client writes the registration. */
  readonly revision: string;
  /** A client has removed it. */
  readonly isRemoved: boolean;
}

/** The fields that the holder of a partition writes. */
export type PushState = Partial<Pick<SavedRegistration, "start" | "behind" | "pending" | "suspended">>;

interface PushDocument {
  _id: string;
  partition: number;
  identity: SavedIdentity;
  request: SavedRequest;
  createdAt: Date;
  expiresAt: Date;
  start: SavedRegistration["start"];
  behind: string | null;
  pending: (Omit<SavedPush, "body"> & { readonly body: Binary | Uint8Array }) | null;
  suspended: string | null;
  revision: string;
  /** The holder of the partition has not taken the present revision. */
  isNew: boolean;
  isRemoved: boolean;
  fence: Long;
}

/** A registration as a client makes it. */
type NewRegistration = Omit<SavedRegistration, "behind" | "pending" | "suspended" | "isRemoved">;

/** Which limit refuses a new registration. */
export type PushLimit = "pushPerUser" | "pushRegistrations";

/** A page of registrations, in the order of their ids. */
export interface PushPage {
  readonly limit: number;
  readonly after?: string | undefined;
  readonly sub?: string | undefined;
}

/** Registrations that clients have. The server's clock decides which have expired, because those of nodes differ. */
const EXISTING = { isRemoved: false, $expr: { $gt: ["$expiresAt", "$$NOW"] } } as const;
/** The holder of the partition erases the document. */
const REMOVED = { isRemoved: true, isNew: true, pending: null } as const;
const PRIMARY_READ = { ...MAJORITY_READ, readPreference: "primary" } as const;
/** Documents that are read at once. Decoding all of them in one turn would delay clients. */
const READ_BATCH = 200;
/** Documents of one answer to the question for new ones. The others follow with the next question. */
const NEW_MAX = 1_000;

/** Push registrations, in the state database. */
export class PushStore {
  readonly #database: StateDatabase;
  readonly #indexes = new ExpiryIndex(
    { partition: 1, isNew: 1 },
    { "identity.subject": 1 },
    { "request.auth": 1 },
  );
  readonly #places: PushPlaces;

  constructor(stateDatabase: StateDatabase) {
    this.#database = stateDatabase;
    this.#places = new PushPlaces(stateDatabase);
  }

  get #collection(): Collection<PushDocument> {
    return this.#database.collection<PushDocument>(COLLECTION);
  }

  /**
   * Saves a registration, or renews the one with this id. A renewed registration continues where it is, and a push that
   * waits stays.
   * @returns The limit that refuses it; `null` if it was saved.
   */
  async put(
    registration: NewRegistration,
    limits: Readonly<Record<PushLimit, number>>,
  ): Promise<PushLimit | null> {
    const { id, createdAtMs, expiresAtMs, start, ...fields } = registration;
    await this.#indexes.ensure(this.#collection);
    await this.#removeOfOthers(registration);
    const written = {
      ...fields,
      expiresAt: new Date(expiresAtMs),
      suspended: null,
      isNew: true,
      isRemoved: false,
    };
    const known = await this.#collection.findOne({ _id: id, ...EXISTING }, MAJORITY_READ);
    if (known !== null) {
      // A later start would skip the changes that its holder has not received yet.
      const continues = known.suspended === null && known.start !== null;
      const set = { ...written, ...(continues ? {} : { start, behind: null }) };
      const renewed = await this.#collection.updateOne(
        { _id: id, ...EXISTING },
        { $set: set },
        MAJORITY_WRITE,
      );
      // It may have been removed, or have expired, meanwhile. It must then count as a new one.
      if (renewed.matchedCount > 0) return null;
    }
    // An estimate counts in no time. Registrations that are removed soon count, too.
    if ((await this.#collection.estimatedDocumentCount()) >= limits.pushRegistrations)
      return "pushRegistrations";
    return this.#create(registration, written, limits.pushPerUser);
  }

  /**
   * Removes the registrations that other users have made in the same browser. Only that browser and this service know the
   * secret `auth`, so the sender is that browser, and its screen must not show the documents of an earlier user.
   */
  async #removeOfOthers({ identity, request }: NewRegistration): Promise<void> {
    const { endpoint, auth } = request;
    await this.#collection.updateMany(
      {
        "request.auth": auth,
        "request.endpoint": endpoint,
        "identity.subject": { $ne: identity.subject },
        isRemoved: false,
      },
      { $set: REMOVED },
      MAJORITY_WRITE,
    );
  }

  async #create(
    { id, createdAtMs, start, identity: { subject } }: NewRegistration,
    written: Document,
    most: number,
  ): Promise<PushLimit | null> {
    const made = async () => {
      const exists = { $and: [{ $not: "$isRemoved" }, EXISTING.$expr] };
      const found = await this.#collection
        .find({ "identity.subject": subject }, PRIMARY_READ)
        .project<{ _id: string; exists: boolean }>({ exists })
        .toArray();
      const idsOf = (isExisting: boolean) =>
        found.filter((one) => one.exists === isExisting).map(({ _id }) => _id);
      return { existing: idsOf(true), leaving: idsOf(false) };
    };
    if (!(await this.#places.take(subject, id, most, made))) return "pushPerUser";
    // The document of one that was removed, or has expired, may still exist. It must then count as a new one.
    const created = { createdAt: new Date(createdAtMs), start, behind: null, pending: null };
    await this.#collection.updateOne(
      { _id: id },
      { $set: { ...written, ...created }, $setOnInsert: { fence: Long.ZERO } },
      { upsert: true, ...MAJORITY_WRITE },
    );
    // If the write fails, the place stays taken for a while: it may have taken effect.
    await this.#places.release(subject, id);
    return null;
  }

  /** The registrations of a user. */
  async list(subject: string, nowMs: number): Promise<SavedRegistration[]> {
    const filter = { "identity.subject": subject, isRemoved: false, expiresAt: { $gt: new Date(nowMs) } };
    const found = await this.#collection.find(filter, MAJORITY_READ).sort({ createdAt: 1, _id: 1 }).toArray();
    return found.map(toRegistration);
  }

  /** Some of all registrations. */
  async page({ limit, after, sub }: PushPage, nowMs: number): Promise<SavedRegistration[]> {
    const filter = {
      isRemoved: false,
      expiresAt: { $gt: new Date(nowMs) },
      ...(after === undefined ? {} : { _id: { $gt: after } }),
      ...(sub === undefined ? {} : { "identity.sub": sub }),
    };
    const found = await this.#collection.find(filter, MAJORITY_READ).sort({ _id: 1 }).limit(limit).toArray();
    return found.map(toRegistration);
  }

  /**
   * Removes a registration. No push begins after that.
   * @param subject The user whose registration it must be; `null` for any.
   * @returns Whether it existed.
   */
  async remove(subject: string | null, id: string): Promise<boolean> {
    const { matchedCount } = await this.#collection.updateOne(
      { _id: id, isRemoved: false, ...(subject === null ? {} : { "identity.subject": subject }) },
      { $set: REMOVED },
      MAJORITY_WRITE,
    );
    return matchedCount > 0;
  }

  /** Takes the registrations of a partition over. Earlier holders cannot write them any more. */
  async claim(partition: number, fence: bigint): Promise<void> {
    const mine = Long.fromBigInt(fence);
    await this.#collection.updateMany(
      { partition, fence: { $lt: mine } },
      { $set: { fence: mine } },
      MAJORITY_WRITE,
    );
  }

  /** The registrations of a partition, in batches. */
  async *load(partition: number): AsyncGenerator<SavedRegistration[], void> {
    for (let after = ""; ; ) {
      const batch = await this.#collection
        .find({ partition, _id: { $gt: after } }, MAJORITY_READ)
        .sort({ _id: 1 })
        .limit(READ_BATCH)
        .toArray();
      yield batch.map(toRegistration);
      const last = batch.at(-1);
      if (last === undefined || batch.length < READ_BATCH) return;
      after = last._id;
    }
  }

  /** The registrations of a partition that clients have written, and the holder has not taken. */
  async written(partition: number): Promise<SavedRegistration[]> {
    const found = await this.#collection
      .find({ partition, isNew: true }, MAJORITY_READ)
      .limit(NEW_MAX)
      .toArray();
    return found.map(toRegistration);
  }

  /** The holder has taken these registrations, in these revisions. */
  async taken(
    registrations: readonly Pick<SavedRegistration, "id" | "revision">[],
    fence: bigint,
  ): Promise<void> {
    if (registrations.length === 0) return;
    const mine = Long.fromBigInt(fence);
    await this.#collection.bulkWrite(
      registrations.map(({ id, revision }) => ({
        updateOne: {
          filter: { _id: id, revision, fence: { $lte: mine } },
          update: { $set: { isNew: false, fence: mine } },
        },
      })),
      { ordered: false, ...MAJORITY_WRITE },
    );
  }

  /** Whether the registration still exists, and is still served under this fence. */
  async maySend(id: string, fence: bigint, nowMs: number): Promise<boolean> {
    const asked = {
      _id: id,
      fence: Long.fromBigInt(fence),
      isRemoved: false,
      expiresAt: { $gt: new Date(nowMs) },
    };
    const options = { projection: { _id: 1 }, ...MAJORITY_READ };
    return (await this.#collection.findOne(asked, options)) !== null;
  }

  /**
   * Saves the state of registrations. Nothing changes for one that a client has written, or that has another holder.
   * @returns Whether all of them were saved.
   */
  async save(
    states: readonly { readonly id: string; readonly revision: string; readonly set: PushState }[],
    fence: bigint,
  ): Promise<boolean> {
    if (states.length === 0) return true;
    const mine = Long.fromBigInt(fence);
    const { matchedCount } = await this.#collection.bulkWrite(
      states.map(({ id, revision, set }) => ({
        updateOne: { filter: { _id: id, revision, fence: mine, isRemoved: false }, update: { $set: set } },
      })),
      { ordered: false, ...MAJORITY_WRITE },
    );
    return matchedCount === states.length;
  }

  /**
   * Deletes registrations for good. A client may have renewed one in the meantime, which then stays.
   * @param revisions The revisions by id that are to be deleted.
   */
  async erase(
    registrations: readonly Pick<SavedRegistration, "id" | "revision">[],
    fence: bigint,
  ): Promise<void> {
    if (registrations.length === 0) return;
    const mine = Long.fromBigInt(fence);
    const which = registrations.map(({ id, revision }) => ({ _id: id, revision, fence: { $lte: mine } }));
    await this.#collection.deleteMany({ $or: which }, { ...MAJORITY_WRITE, maxTimeMS: MAJORITY_TIMEOUT_MS });
  }
}

function toRegistration(saved: PushDocument): SavedRegistration {
  const { _id, createdAt, expiresAt, pending, isNew: _isNew, fence: _fence, ...rest } = saved;
  return {
    ...rest,
    id: _id,
    createdAtMs: createdAt.getTime(),
    expiresAtMs: expiresAt.getTime(),
    pending: pending === null ? null : { ...pending, body: bytesOf(pending.body) },
  };
}

const bytesOf = (body: Binary | Uint8Array): Uint8Array =>
  "buffer" in body && !(body instanceof Uint8Array) ? body.buffer : body;
