/** Requests of commands to the admin listener of a running node. */
import { API } from "../admin/api/endpoint.ts";
import { StartupError } from "../source/startup-error.ts";
import type { Io } from "../terminal/io.ts";
import { UsageError } from "./command.ts";

/** The node, and the token to send; an empty one is not sent. */
export interface AdminNode {
  readonly url: URL;
  readonly token: string;
}

/** The answer of a node, whatever its status. */
export interface NodeAnswer {
  readonly status: number;
  /** Empty if the answer is no JSON object. */
  readonly body: Readonly<Record<string, unknown>>;
}

const NO_TOKEN =
  "needs a token: set TIDEWIRE_ADMIN_TOKEN to a secret of the node's server.admin.tokens (tidewire admin-token makes one)";
const WRONG_TOKEN =
  "does not accept the token: TIDEWIRE_ADMIN_TOKEN, or server.admin.token of --config, must be a token of the node's server.admin";

/** A plan for many subscriptions takes a while, and a node that has gone does not answer at all. */
const ANSWER_TIMEOUT_MS = 120_000;

/** Reads the option `--admin`. */
export function adminUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== "http:" && url?.protocol !== "https:")
    throw new UsageError("--admin takes the URL of an admin listener, such as http://127.0.0.1:8481");
  return url;
}

/** The token of the environment, or else that of the configuration. */
export const adminTokenOf = ({ env }: Io, configured: string): string =>
  env["TIDEWIRE_ADMIN_TOKEN"] || configured;

/**
 * Asks a running node.
 * @param ifUnconfirmed What to say of an act if its answer is lost; `null` if it is none.
 * @throws {StartupError} It does not answer.
 */
export async function askNode(
  { url, token }: AdminNode,
  method: "GET" | "POST",
  path: string,
  body: { readonly text: string } | { readonly json: unknown } | null = null,
  ifUnconfirmed: string | null = null,
): Promise<NodeAnswer> {
  const headers: Record<string, string> = token === "" ? {} : { authorization: `Bearer ${token}` };
  if (body !== null && "json" in body) headers["content-type"] = "application/json";
  const sent = body === null ? null : "json" in body ? JSON.stringify(body.json) : body.text;
  try {
    const signal = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
    // A redirect could send the token, or the rules, elsewhere.
    const response = await fetch(new URL(API + path, url), {
      method,
      headers,
      body: sent,
      redirect: "error",
      signal,
    });
    return { status: response.status, body: parseObject(await response.text()) };
  } catch (cause) {
    const text = `${url.origin} does not answer: is the node running, and is that its server.admin listener?`;
    throw new StartupError(text, ifUnconfirmed === null ? [] : [ifUnconfirmed], { cause });
  }
}

/** The error for an answer that is no success. */
export function unexpected({ url, token }: AdminNode, { status, body }: NodeAnswer): StartupError {
  const fail = (why: string) => new StartupError(`${url.origin} ${why}`);
  if (status === 401) return fail(token === "" ? NO_TOKEN : WRONG_TOKEN);
  if (status === 404) return fail("is not the admin listener of a node (server.admin)");
  return fail(`answers ${status}: ${String(body["error"] ?? "nothing that is understood")}`);
}

function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? { ...value } : {};
  } catch {
    return {}; // the answer is not that of a node: the status decides the error text
  }
}
