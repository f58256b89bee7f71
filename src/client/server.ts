/** For servers that render pages: reads results for a page, so that the browser resumes from them. */
import { type Client, type ClientOptions, createClient, type Initial } from "./client.ts";
import { type AnyQuery, hostOf, requestOf } from "./internals.ts";
import type { Saved } from "./persistence.ts";

/** How long a page waits for its results. */
export interface PrefetchOptions {
  /**
   * After this time the page is rendered without the results that are missing, in milliseconds. The browser reads them.
   * Default: 2000.
   */
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 2_000;

/**
 * Reads the results of queries for one user, with a connection of its own that ends with it. Results that do not arrive in
 * time, and queries that the service refuses, are left out.
 * @param options As for `createClient`; `token` returns the token of the user for whom the page is rendered.
 * @param queries The queries of the page, made by the given client.
 * @returns The option `initial` of the clients that render the page, on the server and in the browser.
 */
export async function prefetch(
  options: ClientOptions,
  queries: (client: Client) => readonly AnyQuery[],
  { timeoutMs = TIMEOUT_MS }: PrefetchOptions = {},
): Promise<Initial> {
  const client = createClient({ logger: false, ...options });
  let timer: ReturnType<typeof setTimeout> | undefined;
  const over = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, timeoutMs);
  });
  try {
    const results: Record<string, Saved> = {};
    const read = queries(client).map(async (query) => {
      const result = hostOf(query).acquire(query.key, requestOf(query));
      const leave = result.listen({});
      await query.snapshot();
      const { resumePoint, view } = result;
      if (resumePoint !== undefined) results[query.key] = { docs: view.list, ...resumePoint };
      leave();
    });
    await Promise.race([over, Promise.allSettled(read)]);
    const { values = "json" } = options;
    return { values: typeof values === "string" ? values : values.mode, results: { ...results } };
  } finally {
    clearTimeout(timer);
    client.close();
  }
}

const UNSAFE: Readonly<Record<string, string>> = {
  "<": "\\u003c",
  ">": "\\u003e",
  "&": "\\u0026",
  "\u2028": "\\u2028",
  "\u2029": "\\u2029",
};

/** Results as text for a `<script type="application/json">`: no document can end the element. */
export const toInlineJson = (initial: Initial): string =>
  JSON.stringify(initial).replace(/[<>&\u2028\u2029]/g, (character) => UNSAFE[character] ?? "");
