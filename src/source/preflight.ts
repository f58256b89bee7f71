/**
 * Checks the prerequisites of the service in MongoDB. All that are not met are reported at once, because an admin who
 * fixes them one restart at a time loses patience, and often needs another team for each grant.
 */
import { MongoServerError } from "mongodb";
import { IMAGE_STAGE } from "./change-stream.ts";
import { describeCollection, ensureImages, type ImageState } from "./images.ts";
import type { MongoAccess } from "./mongo.ts";
import type { ImageMode } from "./options.ts";
import { describeNeed, missingPrivileges, type Need, type Privilege, readPrivileges } from "./privileges.ts";
import { StartupError } from "./startup-error.ts";
import {
  describeServer,
  identifyDeployment,
  isServerError,
  type ServerDescription,
  serverProblems,
  type Topology,
  UNAUTHORIZED,
} from "./topology.ts";

/** Names a collection and its database. */
export interface Namespace {
  readonly database: string;
  readonly collection: string;
}

/** Whether the change stream also follows collections of the service's own, such as the revocations. */
export interface FollowState {
  /** `auto`: if the stream can cover them with the rights of the user. */
  readonly mode: "auto" | "on" | "off";
  readonly collections: readonly Namespace[];
  /** The feature that needs them, for texts. */
  readonly feature: string;
  /** The setting that does without the feature, for texts. */
  readonly without: string;
}

/** The collections to check, and the options that affect the checks. */
export interface PreflightOptions {
  readonly collections: readonly Namespace[];
  readonly followState: FollowState;
  readonly stateDatabase: string;
  readonly images: ImageMode;
}

/** The result when every check passed. */
export interface PreflightReport {
  readonly version: string;
  readonly topology: Topology;
  /** Identifies this deployment (see `identifyDeployment`). */
  readonly deploymentId: string;
  /** Whether the server supports pre- and post-images (6.0 and newer). */
  readonly keepsImages: boolean;
  /** Whether the change stream covers the collections of `followState`. */
  readonly followsState: boolean;
  /** The scope on which the change stream is opened. */
  readonly scope: string;
  readonly collections: readonly { readonly namespace: string; readonly images: ImageState }[];
  /** Problems that the service tolerates and the admin should know. */
  readonly warnings: readonly string[];
}

/** The first major version that supports images. */
const IMAGES_FROM_MAJOR = 6;

/** A collection of which only the name and the state of its images are known. */
interface Inspected extends Namespace {
  readonly images: "on" | "off" | "missing";
}

/** The result of checks that all passed, before the service has changed anything. */
interface Inspection {
  readonly server: ServerDescription;
  readonly collections: readonly Inspected[];
  readonly followsState: boolean;
  readonly deploymentId: string;
  readonly warnings: string[];
}

/**
 * Inspects the deployment, and switches images on only after that: while any problem is known, nothing is changed.
 * @param client Connected.
 * @throws {StartupError} It names every problem.
 */
export async function preflight(client: MongoAccess, options: PreflightOptions): Promise<PreflightReport> {
  const inspection = await inspectDeployment(client, options);
  const { server, warnings } = inspection;
  const problems: string[] = [];
  const withImages = keepsImages(server);
  const mode = withImages ? options.images : "off";
  const collections = await switchImagesOn(client, inspection.collections, mode, { problems, warnings });
  if (problems.length > 0) throw cannotStart(server, problems);
  return {
    version: server.version,
    topology: server.topology,
    deploymentId: inspection.deploymentId,
    keepsImages: withImages,
    followsState: inspection.followsState,
    scope: scopeText(inspection.followsState ? allWatched(options) : options.collections),
    collections,
    warnings,
  };
}

/**
 * Finds every problem that a node would report at its start, without changing anything.
 * @throws {StartupError} It names every problem.
 */
export async function inspectDeployment(client: MongoAccess, options: PreflightOptions): Promise<Inspection> {
  const server = await describeServer(client);
  const problems = [...serverProblems(server), ...imageModeProblems(server, options.images)];
  const warnings: string[] = [];
  const privileges = await readPrivileges(client);
  const collections = await inspectCollections(client, options.collections, privileges !== null, problems);
  const withImages = keepsImages(server);
  const report = { problems, warnings };
  const mayFollowState = followsState(privileges, options, report);
  const watched = mayFollowState ? allWatched(options) : options.collections;
  if (privileges !== null)
    checkPrivileges(privileges, { ...options, watched }, withImages ? collections : [], problems, warnings);
  const opens = (of: readonly Namespace[]) => tryChangeStream(client, of, withImages);
  let isFollowing = mayFollowState;
  // Only without other problems: a missing right would be reported a second time, in the words of the server.
  if (problems.length === 0) {
    let refusal = await opens(watched);
    if (refusal !== null && mayFollowState && options.followState.mode === "auto") {
      // Some deployments offer change streams of single databases only.
      warnings.push(`${options.followState.feature} is off: ${refusal}`);
      isFollowing = false;
      refusal = await opens(options.collections);
    }
    if (refusal !== null) problems.push(refusal);
  }
  if (problems.length > 0) throw cannotStart(server, problems);
  const { id, unique } = await identifyDeployment(client);
  if (!unique) {
    warnings.push(
      "the user lacks replSetGetConfig on the cluster (part of clusterMonitor), needed to read the deployment's unique id: " +
        "a MongoDB that is replaced by another one of the same name is not noticed; " +
        'grant { resource: { cluster: true }, actions: ["replSetGetConfig"] }',
    );
  }
  return { server, collections, followsState: isFollowing, deploymentId: id, warnings };
}

const nameOf = ({ database, collection }: Namespace) => `${database}.${collection}`;

function cannotStart({ version, topology }: ServerDescription, problems: readonly string[]): StartupError {
  return new StartupError(`the service cannot work with this MongoDB (${version}, ${topology})`, problems);
}

function imageModeProblems(server: ServerDescription, images: ImageMode): string[] {
  if (images !== "required" || keepsImages(server)) return [];
  return [
    `MongoDB ${server.version} keeps no pre- and post-images, and mongodb.images is required: upgrade to ` +
      `${IMAGES_FROM_MAJOR}.0 or newer, or write images: auto`,
  ];
}

/** Whether the server supports pre- and post-images and the events of created collections. */
const keepsImages = ({ major }: ServerDescription) => major >= IMAGES_FROM_MAJOR;

async function inspectCollections(
  client: MongoAccess,
  collections: readonly Namespace[],
  loggedIn: boolean,
  problems: string[],
): Promise<Inspected[]> {
  const inspected: Inspected[] = [];
  for (const namespace of collections) {
    const name = nameOf(namespace);
    try {
      const { type, images } = await describeCollection(client.db(namespace.database), namespace.collection);
      if (type === "view") {
        problems.push(
          `${name} is a view, which has no changes of its own: name the collection it is made from`,
        );
      } else if (type === "timeseries") {
        problems.push(`${name} is a time-series collection, for which MongoDB has no change streams`);
      } else {
        inspected.push({ ...namespace, images: type === "missing" ? "missing" : images ? "on" : "off" });
      }
    } catch (error) {
      if (!isServerError(error, UNAUTHORIZED)) throw error;
      if (!loggedIn) return needsLogin(problems);
      // The check of privileges reports the missing right together with all others.
    }
  }
  return inspected;
}

function needsLogin(problems: string[]): [] {
  problems.push(
    "this MongoDB wants a login: put user and password into mongodb.uri (mongodb://user:password@host/…)",
  );
  return [];
}

type Watched = Pick<PreflightOptions, "collections" | "followState">;

/** Why the change stream cannot follow the state, by the same decision as at the start of a node; `null` if it can. */
export async function preflightFollowState(client: MongoAccess, options: Watched): Promise<string | null> {
  const problems: string[] = [];
  const report = { problems, warnings: problems };
  followsState(await readPrivileges(client), options, report);
  if (problems.length > 0) return problems.join("; ");
  return tryChangeStream(client, allWatched(options), keepsImages(await describeServer(client)));
}

const allWatched = ({ collections, followState }: Watched): readonly Namespace[] => [
  ...collections,
  ...followState.collections,
];

function scopeText(watched: readonly Namespace[]): string {
  const database = watchedDatabase(watched);
  return database === null ? "the whole deployment" : `database ${database}`;
}

/** Decides whether the stream covers the state database. Reports the missing rights if it does not. */
function followsState(
  privileges: readonly Privilege[] | null,
  options: Watched,
  { problems, warnings }: { problems: string[]; warnings: string[] },
): boolean {
  const { mode, feature, without } = options.followState;
  if (mode === "off") return false;
  const lacking =
    privileges === null ? [] : missingPrivileges([streamNeed(allWatched(options), feature)], privileges);
  if (lacking.length === 0) return true;
  const text =
    `${feature} ${mode === "on" ? "cannot be switched on" : "is off"}: ${lacking.map(describeNeed).join("; ")}. Otherwise ` +
    `set mongodb.stateDatabase to the database of the collections, or write ${without}`;
  (mode === "on" ? problems : warnings).push(text);
  return false;
}

function streamNeed(watched: readonly Namespace[], feature: string): Need {
  const database = watchedDatabase(watched);
  return {
    resource: { db: database ?? "", collection: "" },
    actions: ["find", "changeStream"],
    purpose: `follow mongodb.stateDatabase through the change stream of ${scopeText(watched)} (${feature})`,
  };
}

type Checked = PreflightOptions & { readonly watched: readonly Namespace[] };

function checkPrivileges(
  privileges: readonly Privilege[],
  options: Checked,
  inspected: readonly Inspected[],
  problems: string[],
  warnings: string[],
): void {
  problems.push(...missingPrivileges(needsOf(options), privileges).map(describeNeed));
  if (options.images === "off") return;
  for (const { database: db, collection, images } of inspected) {
    const actions = [images === "missing" ? "createCollection" : "collMod"];
    const need: Need = { resource: { db, collection }, actions, purpose: "switch pre- and post-images on" };
    for (const missing of missingPrivileges([need], privileges).map(describeNeed)) {
      // A collection with images needs no right today. The option is lost if the collection is dropped, so the missing
      // right is still worth a warning.
      if (images === "on") warnings.push(`after the collection is dropped and created again, ${missing}`);
      else (options.images === "auto" ? warnings : problems).push(missing);
    }
  }
}

/** The rights to read the collections, and the rights to write the service's own state. */
function needsOf({ collections, watched, stateDatabase }: Checked): Need[] {
  const database = watchedDatabase(watched);
  return [
    {
      resource: { db: database ?? "", collection: "" },
      actions: ["find", "changeStream"],
      purpose: database === null ? "follow collections of several databases" : "follow its collections",
    },
    ...[...new Set(collections.map(({ database }) => database))].map((database) => ({
      resource: { db: database, collection: "" },
      actions: ["listCollections"],
      purpose: "learn the options of its collections",
    })),
    {
      resource: { db: stateDatabase, collection: "" },
      // The indexes remove keys for EventSource, lost rights and revocations when they expire.
      actions: ["find", "insert", "update", "remove", "createIndex"],
      purpose: "keep checkpoints and keys (mongodb.stateDatabase)",
    },
  ];
}

/**
 * The database to watch; `null` for the whole deployment. A stream has one scope, so collections of two databases need
 * a stream of the deployment.
 */
function watchedDatabase(collections: readonly Namespace[]): string | null {
  const databases = new Set(collections.map(({ database }) => database));
  const [only] = databases;
  return databases.size === 1 && only !== undefined ? only : null;
}

/**
 * Opens the stream once, because a server that only speaks the protocol may have no change streams, or not all of their
 * options.
 * @returns Why the server refuses; `null` if it does not.
 */
async function tryChangeStream(
  client: MongoAccess,
  collections: readonly Namespace[],
  withImages: boolean,
): Promise<string | null> {
  const database = watchedDatabase(collections);
  const db = client.db(database ?? "admin");
  const wholeDeployment = database === null ? { allChangesForCluster: true } : {};
  const $changeStream = { ...(withImages ? IMAGE_STAGE : {}), ...wholeDeployment };
  try {
    // Without this option the driver returns a small cursor id as a number and sends it back as a double, which the
    // server refuses.
    const { cursor } = await db.command(
      { aggregate: 1, pipeline: [{ $changeStream }], cursor: { batchSize: 0 } },
      { promoteLongs: false },
    );
    await db.command({ killCursors: "$cmd.aggregate", cursors: [cursor.id] });
    return null;
  } catch (error) {
    if (!(error instanceof MongoServerError)) throw error;
    return `the server refuses the change stream of ${scopeText(collections)}: ${error.message}`;
  }
}

/**
 * Switches images on. If that fails, `auto` continues without them, and documents are read at the time of each event.
 */
async function switchImagesOn(
  client: MongoAccess,
  inspected: readonly Inspected[],
  mode: ImageMode,
  { problems, warnings }: { problems: string[]; warnings: string[] },
): Promise<PreflightReport["collections"]> {
  const collections: { namespace: string; images: ImageState }[] = [];
  for (const { database, collection, images } of inspected) {
    const namespace = nameOf({ database, collection });
    if (mode === "off") {
      collections.push({ namespace, images: images === "on" ? "on" : "off" });
      continue;
    }
    try {
      collections.push({ namespace, images: await ensureImages(client.db(database), collection) });
    } catch (error) {
      if (!(error instanceof MongoServerError)) throw error;
      const text = `pre- and post-images of ${namespace} cannot be switched on: ${error.message}`;
      if (mode === "required") problems.push(text);
      else {
        warnings.push(`${text}; its documents are read for each change instead`);
        collections.push({ namespace, images: "off" });
      }
    }
  }
  return collections;
}
