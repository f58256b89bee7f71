/**
 * The cause of a failed connection, as a text for the admin: which host, what happened, what to do. Driver errors name
 * a symptom such as a timeout, and the frequent causes (a wrong port, TLS on one side only, a wrong set name) have
 * different fixes, so the hosts are asked once more. No text contains a password.
 */
import {
  type Document,
  MongoAPIError,
  MongoClient,
  type MongoClientOptions,
  MongoMissingDependencyError,
  MongoNetworkError,
  MongoServerError,
  MongoServerSelectionError,
  MongoTopologyClosedError,
  type ServerDescription,
} from "mongodb";
import { lacksMajority } from "./majority.ts";
import { downReasonOf } from "./stream-errors.ts";

/** How long one host may take to answer `hello`, in milliseconds. The admin waits for this text. */
const ASK_TIMEOUT_MS = 2_000;
/** Error codes of a refused login: 18 of MongoDB, 8000 of Atlas. */
const LOGIN_REFUSED = new Set([18, 8_000]);
// OpenSSL and Node word these errors differently across versions, so the patterns match parts of the text.
const CERTIFICATE = /self[- ]signed|SELF_SIGNED|CERT_|certificate|UNABLE_TO_(?:VERIFY|GET_ISSUER)|ALTNAME/;
const NO_TLS = /before secure TLS|wrong version number|EPROTO|ECONNRESET/;

/**
 * A sentence about why `client` could not use its MongoDB. It asks the hosts where the error alone does not show the
 * cause.
 */
export async function connectionProblem(error: unknown, client: MongoClient): Promise<string> {
  const hosts = hostsOf(client);
  if (error instanceof MongoServerSelectionError) return selectionProblem(error, client);
  // The client was replaced meanwhile, because its topology had lost its last server.
  if (error instanceof MongoTopologyClosedError) return notMemberProblem(client);
  if (error instanceof MongoMissingDependencyError) return dependencyProblem(error);
  if (lacksMajority(error))
    return `${hosts}: no majority of the members confirms writes. Check rs.status() for members that are down`;
  if (error instanceof MongoServerError) return serverProblem(error, client);
  if (error instanceof MongoNetworkError) {
    const silent = downReasonOf(error) === "no-answer";
    return silent
      ? `${hosts} gave no answer in time. Is mongod frozen or overloaded, or does the network drop packets?`
      : `the connection to ${hosts} was lost (${error.message})`;
  }
  if (error instanceof MongoAPIError) return `mongodb.uri is not usable: ${error.message}`;
  return systemProblem(error, client);
}

const hostsOf = ({ options }: MongoClient): string => options.srvHost ?? options.hosts.map(String).join(", ");

function dependencyProblem({ message }: Error): string {
  const [, name] = /module `([^`]+)`/.exec(message) ?? [];
  const install = name === undefined ? message : `npm install ${name}`;
  return `mongodb.uri needs a package that is not installed: ${install}, or remove the option that needs it`;
}

function serverProblem(error: MongoServerError, client: MongoClient): string {
  const hosts = hostsOf(client);
  if (!LOGIN_REFUSED.has(Number(error.code)))
    return `${hosts} answers with an error: ${error.message} (code ${error.code})`;
  const { username = "", source = "admin" } = client.options.credentials ?? {};
  return (
    `${hosts} refuses the login of user ${JSON.stringify(username)} in the authentication database ${JSON.stringify(source)}: ` +
    "the user or the password is wrong, or the user belongs to another database (authSource)"
  );
}

/** An error of Node itself, before any server was asked: a TLS file, or the DNS entry of a `mongodb+srv` name. */
function systemProblem(error: unknown, client: MongoClient): string {
  const { code, syscall, path, message } = error as NodeJS.ErrnoException;
  const hosts = hostsOf(client);
  if (syscall === "open") return `the file ${path} that mongodb.uri names cannot be read (${code})`;
  if (syscall === "querySrv" || syscall === "queryTxt")
    return `the name ${hosts} has no DNS entry for mongodb+srv (${code}). Check its spelling, or write mongodb:// with the hosts`;
  return `${hosts}: ${message}`;
}

async function selectionProblem(error: MongoServerSelectionError, client: MongoClient): Promise<string> {
  const servers: readonly ServerDescription[] = [...(error.reason?.servers.values() ?? [])];
  if (servers.length === 0) return notMemberProblem(client);
  const known = servers.find(({ type }) => type !== "Unknown");
  if (known !== undefined) return memberProblem(servers, client);
  const texts = await Promise.all(servers.map((server) => hostProblem(server, client)));
  return [...new Set(texts)].join("; ");
}

function memberProblem(servers: readonly ServerDescription[], { options }: MongoClient): string {
  const ghost = servers.find(({ type }) => type === "RSGhost");
  if (ghost !== undefined)
    return `${ghost.address} was started with --replSet, and its replica set is not initiated. Run rs.initiate() in mongosh`;
  const addresses = servers.map(({ address }) => address).join(", ");
  if (servers.some(({ type }) => type === "RSPrimary" || type === "Standalone" || type === "Mongos")) {
    const { mode } = options.readPreference;
    return `${addresses}: no member matches readPreference=${mode} and its options in mongodb.uri. Remove them: the service reads from the primary`;
  }
  return `${addresses}: the replica set has no primary. Check rs.status(): an election, or no majority`;
}

/**
 * The driver drops servers that are not members of the named set, and reports nothing but a timeout. So each host is
 * asked for its own description.
 */
async function notMemberProblem(client: MongoClient): Promise<string> {
  const { hosts, replicaSet } = client.options;
  if (replicaSet === undefined) return `${hostsOf(client)}: the driver found no server to use`;
  for (const host of hosts.map(String)) {
    const hello = await ask(host, tlsOf(client));
    if (hello === null) continue;
    const { setName, msg } = hello;
    if (setName === replicaSet) continue;
    if (typeof setName === "string")
      return `${host} belongs to the replica set ${JSON.stringify(setName)}, and mongodb.uri says replicaSet=${replicaSet}. Write replicaSet=${setName}`;
    if (msg === "isdbgrid")
      return `${host} is a router of a sharded cluster, and mongodb.uri says replicaSet=${replicaSet}. Remove replicaSet`;
    return (
      `${host} is a standalone server, which has no change streams, and mongodb.uri says replicaSet=${replicaSet}. ` +
      `Start it with --replSet ${replicaSet}, and run rs.initiate() once in mongosh`
    );
  }
  return `${hostsOf(client)}: no host answers as a usable member of the replica set ${JSON.stringify(replicaSet)}`;
}

async function hostProblem({ address, error }: ServerDescription, client: MongoClient): Promise<string> {
  const cause = error?.cause;
  const code = String(cause !== undefined && "code" in cause ? cause.code : "");
  const text = `${code} ${error?.message ?? ""}`;
  if (/ENOTFOUND|EAI_AGAIN/.test(text))
    return `the name of ${address} cannot be resolved. Check its spelling in mongodb.uri, and DNS`;
  if (/ECONNREFUSED/.test(text))
    return `${address} refuses connections. Does mongod run there, on that port, and listen on that address (net.bindIp)?`;
  if (/EHOSTUNREACH|ENETUNREACH/.test(text))
    return `there is no route to ${address} (${code}). Check the network and the firewall`;
  if (CERTIFICATE.test(text))
    return `the TLS certificate of ${address} is not accepted (${error?.message}). Name its authority with tlsCAFile in mongodb.uri, and use a host name that the certificate contains`;
  // The other end decides: a host that answers in the other mode proves that only one side uses TLS.
  const { tls } = client.options;
  if (tls === true && NO_TLS.test(text) && (await ask(address, {})) !== null)
    return `${address} does not use TLS, and mongodb.uri asks for it. Remove tls=true, or configure TLS at the server`;
  if (tls !== true && (await ask(address, { tls: true, tlsAllowInvalidCertificates: true })) !== null)
    return `${address} requires TLS. Add tls=true to mongodb.uri, and tlsCAFile if its certificate is not publicly trusted`;
  if (error !== null && downReasonOf(error) === "no-answer")
    return `${address} gave no answer in time. Is mongod frozen, or does a firewall drop packets? If it is only slow, raise mongodb.connectTimeout`;
  return `${address} cannot be used: ${error?.message ?? "no answer"}`;
}

function tlsOf({ options }: MongoClient): MongoClientOptions {
  const { tls, tlsCAFile, tlsCertificateKeyFile, tlsAllowInvalidCertificates } = options;
  return {
    ...(tls === undefined ? {} : { tls }),
    ...(tlsCAFile === undefined ? {} : { tlsCAFile }),
    ...(tlsCertificateKeyFile === undefined ? {} : { tlsCertificateKeyFile }),
    ...(tlsAllowInvalidCertificates === undefined ? {} : { tlsAllowInvalidCertificates }),
  };
}

/**
 * Sends `hello` to one host, without a login.
 * @returns `null` if it does not answer.
 */
async function ask(host: string, options: MongoClientOptions): Promise<Document | null> {
  const client = new MongoClient(`mongodb://${host}/`, {
    ...options,
    directConnection: true,
    serverSelectionTimeoutMS: ASK_TIMEOUT_MS,
    connectTimeoutMS: ASK_TIMEOUT_MS,
  });
  try {
    return await client.db("admin").command({ hello: 1 });
  } catch {
    return null; // The caller then describes the original error.
  } finally {
    await client.close();
  }
}
