/**
 * Finds the kind and the identity of a MongoDB deployment, by its features where possible, because servers that only
 * speak the protocol report any version that they like.
 */
import { type Document, MongoServerError } from "mongodb";
import type { MongoAccess } from "./mongo.ts";

/** The kind of a MongoDB deployment. */
export type Topology = "replica set" | "sharded cluster" | "standalone";

/** The version and the kind of a server. */
export interface ServerDescription {
  /** For example `7.0.14`. */
  readonly version: string;
  readonly major: number;
  readonly topology: Topology;
}

/** The oldest major version whose change streams and snapshot reads the service can use. */
export const MINIMUM_MAJOR = 5;

/** Error code of the server, as `src/mongo/base/error_codes.yml` names it. */
export const UNAUTHORIZED = 13;

/** Whether an error is the server's own, with this code. */
export const isServerError = (error: unknown, code: number): boolean =>
  error instanceof MongoServerError && error.code === code;

/**
 * Asks a server for its version and kind.
 * @throws The driver's error.
 */
export async function describeServer(client: MongoAccess): Promise<ServerDescription> {
  const admin = client.db("admin");
  const hello = await admin.command({ hello: 1 });
  const { version } = await admin.command({ buildInfo: 1 });
  const topology = topologyOf(hello);
  return { version: String(version), major: Number.parseInt(String(version), 10), topology };
}

function topologyOf(hello: Document): Topology {
  if (hello["msg"] === "isdbgrid") return "sharded cluster";
  return typeof hello["setName"] === "string" ? "replica set" : "standalone";
}

/** Why this server cannot serve live queries; empty if it can. */
export function serverProblems({ version, major, topology }: ServerDescription): string[] {
  const problems: string[] = [];
  if (!(major >= MINIMUM_MAJOR)) {
    problems.push(
      `MongoDB ${version} is too old: ${MINIMUM_MAJOR}.0 or newer is needed. Upgrade the server.`,
    );
  }
  if (topology === "standalone") {
    problems.push(
      "this MongoDB is a standalone server, which has no change streams. Make it a one-node replica set: stop it, " +
        "start it again with --replSet rs0 (or replication.replSetName: rs0 in mongod.conf), run rs.initiate() " +
        "once in mongosh, and add replicaSet=rs0 to mongodb.uri. The data stays.",
    );
  }
  return problems;
}

/** Identifies a deployment. */
export interface DeploymentIdentity {
  readonly id: string;
  /** Whether `id` is the server's own unique id. A mere name may also be that of another deployment. */
  readonly unique: boolean;
}

/**
 * The identity of this deployment, because positions of one deployment mean nothing in another. A user without the
 * right to read the unique id is no error. The name of the set is used then.
 */
export async function identifyDeployment(client: MongoAccess): Promise<DeploymentIdentity> {
  const admin = client.db("admin");
  const hello = await admin.command({ hello: 1 });
  try {
    const unique =
      topologyOf(hello) === "sharded cluster"
        ? // The driver's types know only ObjectId as `_id`; config.version has the number 1.
          (await client.db("config").collection("version").findOne({}))?.["clusterId"]
        : (await admin.command({ replSetGetConfig: 1 }))["config"]?.["settings"]?.["replicaSetId"];
    if (unique !== undefined) return { id: String(unique), unique: true };
  } catch (error) {
    // Any other error, for example a lost connection, must not make the deployment look like another one.
    if (!isServerError(error, UNAUTHORIZED)) throw error;
  }
  return { id: `name:${String(hello["setName"] ?? "sharded")}`, unique: false };
}
