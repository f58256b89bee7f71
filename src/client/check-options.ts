/** Checks the options of `createClient`. A wrong option would otherwise only show as a client that never connects. */
import { lacksPart, type Part } from "./part.ts";
import type { TokenProvider } from "./tokens.ts";

/** The options of `createClient` that are checked. */
interface GivenOptions {
  readonly url: string | URL;
  readonly token?: TokenProvider;
}

/** Options that belong to a part, as the argument of the function that makes it. */
const OF_PARTS: Readonly<Record<string, keyof Part>> = {
  persist: "persistence",
  initial: "initial",
  transports: "fallback",
  fetch: "fallback",
  upgradeAfterMs: "fallback",
  logger: "warnings",
};

/**
 * Checks the options before anything connects.
 * @returns The address of the service, with `http:` or `https:`, without a slash at the end.
 * @throws {TypeError} The message names the option and a correct value.
 */
export function checkOptions(options: GivenOptions): string {
  const { url, token }: Partial<GivenOptions> = options; // an application in JavaScript may pass anything
  for (const option in options) {
    const part = OF_PARTS[option];
    if (part !== undefined) throw lacksPart(part, option);
  }
  if (token !== undefined && typeof token !== "function") {
    throw new TypeError("the option `token` of createClient is a function that returns the token");
  }
  return checkUrl(String(url ?? ""));
}

function checkUrl(text: string): string {
  let url: URL | undefined;
  try {
    url = new URL(text);
  } catch {
    // Reported below, together with URLs that are valid and useless.
  }
  if (!url || !/^(http|ws)s?:$/.test(url.protocol) || url.search || url.hash) {
    throw new TypeError(
      `createClient needs a url such as https://live.example.com, without a query, not "${text}"`,
    );
  }
  return text.replace(/^ws/, "http").replace(/\/+$/, "");
}
