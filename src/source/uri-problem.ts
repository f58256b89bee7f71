/**
 * Finds faults of a connection string without contacting a server. No text quotes a user or a password, because the
 * texts go to logs.
 */
import { accessSync, constants } from "node:fs";
import { createRequire } from "node:module";
import * as zlib from "node:zlib";
import { MongoClient } from "mongodb";

const CREDENTIALS =
  "mongodb.uri has a character in its user or password that must be percent-encoded: write %40 for @, %3A for :, %2F " +
  "for /, %3F for ?, %23 for #, %5B for [, %5D for ] and %25 for %";
const PORT = "a port is a number from 1 to 65535, after a single colon";
/** The smallest value that servers accept, in seconds. */
const MAX_STALENESS_SECONDS_MIN = 90;

/** @returns The first fault, in a sentence that says what to change; `null` if there is none. */
export function uriProblem(uri: string): string | null {
  if (hasBareCredentials(uri)) return CREDENTIALS;
  try {
    new MongoClient(uri);
  } catch (error) {
    return driverProblem(error, uri);
  }
  return optionProblem(new URLSearchParams(uri.split("?")[1] ?? ""));
}

/** Two `@` before the options: one of them belongs to the user or the password. */
function hasBareCredentials(uri: string): boolean {
  const [beforeOptions = ""] = uri.split("?");
  return beforeOptions.split("@").length > 2;
}

/** The driver (7.9) distinguishes its causes by text alone. */
function driverProblem(error: unknown, uri: string): string {
  const message = error instanceof Error ? error.message : String(error);
  if (/unescaped characters|URI malformed/.test(message)) return CREDENTIALS;
  const hosts = uri.slice(uri.lastIndexOf("@") + 1);
  const [, host] = /Unable to parse (\S+) with URL/.exec(message) ?? [];
  if (host !== undefined)
    return `mongodb.uri names ${hosts.includes(host) ? host : "a host"}, which is no host with a port: ${PORT}`;
  if (/port \(zero\)/i.test(message)) return `mongodb.uri has the port 0: ${PORT}`;
  const [, option] = /^options? (.+?) (?:is|are) not supported/.exec(message) ?? [];
  if (option !== undefined)
    return `mongodb.uri has the option ${option}, which the driver does not know: check its spelling, or remove it`;
  if (/Invalid connection string/.test(message))
    return "mongodb.uri is no connection string. Write mongodb://user:password@host:27017/?replicaSet=rs0";
  return `mongodb.uri is not usable: ${withoutCredentials(message, uri)}`;
}

function withoutCredentials(text: string, uri: string): string {
  const [, credentials = ""] = /:\/\/(.*)@/.exec(uri) ?? [];
  const parts = [credentials, ...credentials.split(":").slice(1)].filter((part) => part !== "");
  return parts.reduce((shown, part) => shown.replaceAll(part, "…"), text);
}

function optionProblem(options: URLSearchParams): string | null {
  const named = new Map([...options].map(([name, value]) => [name.toLowerCase(), value]));
  const staleness = named.get("maxstalenessseconds");
  if (staleness !== undefined && staleness !== "-1" && !(Number(staleness) >= MAX_STALENESS_SECONDS_MIN)) {
    const least = `MongoDB accepts ${MAX_STALENESS_SECONDS_MIN} or more`;
    return `mongodb.uri has maxStalenessSeconds=${staleness}, and ${least}: raise it, or remove it`;
  }
  for (const name of named.get("compressors")?.split(",") ?? []) {
    const missing = missingPackage(name.trim());
    if (missing !== null) {
      const install = `npm install ${missing}`;
      return `mongodb.uri has compressors=${name}, which needs a package that is not installed: ${install}, or remove ${name}`;
    }
  }
  for (const name of ["tlsCAFile", "tlsCertificateKeyFile", "tlsCRLFile"]) {
    const path = named.get(name.toLowerCase());
    if (path !== undefined && !isReadable(path))
      return `mongodb.uri has ${name}=${path}, and that file cannot be read: check its path and its rights`;
  }
  return null;
}

/** The package that a compressor needs, if it is not installed; otherwise `null`. */
function missingPackage(compressor: string): string | null {
  const needed = { snappy: "snappy", zstd: "zstdCompress" in zlib ? undefined : "@mongodb-js/zstd" };
  const name = needed[compressor as keyof typeof needed];
  if (name === undefined) return null;
  try {
    const require = createRequire(import.meta.url);
    createRequire(require.resolve("mongodb")).resolve(name);
    return null;
  } catch {
    return name;
  }
}

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}
