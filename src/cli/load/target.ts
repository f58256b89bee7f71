/** The targets of a load run: the service and the MongoDB, which are on this machine unless the user insists. */
import { MongoClient } from "mongodb";
import { isLoopback } from "../../protocol/is-loopback.ts";
import { StartupError } from "../../source/startup-error.ts";
import { UsageError } from "../command.ts";

const WS_PATH = "/v1/ws";

/**
 * The URL of a service without the path of its WebSocket.
 * @throws {UsageError}
 */
export function readTarget(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  // The URL is part of the report and of `--json`, which people pass on.
  if (url !== undefined && (url.username !== "" || url.password !== "")) {
    throw new UsageError(
      "--url has a name or password, which would be part of the results: leave it out. Users authenticate with tokens " +
        "(--secret-file, --key-file or --tokens)",
    );
  }
  if (url === undefined || !/^(ws|http)s?:$/.test(url.protocol) || url.search !== "" || url.hash !== "") {
    // A query may have a token, and a text that is no URL may have anything.
    const given = /[@?#]/.test(text) ? "" : `; it is ${JSON.stringify(text)}`;
    throw new UsageError(
      `--url takes the service's URL, such as ws://127.0.0.1:8480 or wss://live.example.com, without a query${given}`,
    );
  }
  url.protocol = url.protocol.replace("http", "ws");
  const path = url.pathname.replace(/\/+$/, "");
  url.pathname = path.endsWith(WS_PATH) ? path.slice(0, -WS_PATH.length) : path;
  return url;
}

/**
 * Refuses targets that are not on this machine.
 * @throws {UsageError}
 */
export function checkTarget(url: URL, mongodb: string | undefined, isOwned: boolean): void {
  if (isOwned) return;
  const others = [url.hostname, ...hostsOf(mongodb)].filter((host) => !isLoopback(host));
  if (others.length === 0) return;
  throw new UsageError(
    `${others.join(", ")} is not this machine. A load test can make a service unusable for its users. If the target is ` +
      "yours and you may load it, add --i-own-this-target",
  );
}

/**
 * The members of a deployment that are not on this machine. A driver that knows one member learns of all others from it,
 * and writes to their primary.
 * @param members Addresses with ports, as the driver reports them.
 */
export function otherMembers(members: Iterable<string>): string[] {
  // A socket of the file system is on this machine.
  return [...members].filter((member) => !member.startsWith("/") && !isLoopback(member.replace(/:\d+$/, "")));
}

/**
 * Refuses a deployment with members on other machines.
 * @param members As for `otherMembers`.
 * @throws {UsageError}
 */
export function checkMembers(members: Iterable<string>, isOwned: boolean): void {
  const others = isOwned ? [] : otherMembers(members);
  if (others.length === 0) return;
  throw new UsageError(
    `the deployment of --mongodb has members that are not on this machine: ${others.join(", ")}. The writers would write to its ` +
      "primary. If it is yours and you may load it, add --i-own-this-target",
  );
}

/** The hosts that a MongoDB URI names, and its proxy. @throws {UsageError} */
export function hostsOf(uri: string | undefined): string[] {
  if (uri === undefined) return [];
  try {
    const { hosts, srvHost, proxyHost } = new MongoClient(uri).options;
    const proxies = proxyHost === undefined ? [] : [proxyHost];
    if (srvHost !== undefined) return [srvHost, ...proxies];
    // A socket of the file system is on this machine.
    return [...hosts.map(({ host }) => host ?? "localhost"), ...proxies];
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new UsageError(
      `--mongodb takes a URI such as mongodb://127.0.0.1:27017/?replicaSet=rs0: ${reason}`,
      {
        cause,
      },
    );
  }
}

/** The database in the path of a MongoDB URI. */
export function databaseOf(uri: string): string | undefined {
  const name = /^mongodb(?:\+srv)?:\/\/[^/]+\/([^?]+)/.exec(uri)?.[1];
  return name === undefined ? undefined : decodeURIComponent(name);
}

/** Files that a run opens besides its connections. */
const OTHER_FILES = 100;

/**
 * Checks that this process may open so many connections.
 * @param limit The limit of open files of this process.
 * @throws {StartupError}
 */
export function checkOpenFiles(connections: number, limit: number | undefined = openFilesLimit()): void {
  const needed = connections + OTHER_FILES;
  if (limit === undefined || limit >= needed) return;
  throw new StartupError(
    `this process may open ${limit} files, and ${connections} connections need ${needed}: run \`ulimit -n ${needed}\` in this ` +
      "shell before, or use fewer --connections. The service needs as many",
  );
}

/** The hard limit, to which Node raises the soft one at its start; `undefined` where there is none. */
function openFilesLimit(): number | undefined {
  // The report is plain data, whose type Node does not declare.
  const report = process.report?.getReport() as
    | { userLimits?: { open_files?: { soft?: unknown } } }
    | undefined;
  const soft = Number(report?.userLimits?.open_files?.soft);
  return Number.isFinite(soft) ? soft : undefined;
}
