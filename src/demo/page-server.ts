import type { IncomingMessage, ServerResponse } from "node:http";
import { API as ADMIN_API } from "../admin/api/endpoint.ts";
import { deferred } from "../feed/deferred.ts";
import { AsFound } from "./as-found.ts";
import { BoardRules } from "./board-rules.ts";
import { consoleUrlOf } from "./console-url.ts";
import type {
  BoardAnswer,
  FindAnswer,
  FindRequest,
  RateRequest,
  RulesAnswer,
  RulesRequest,
  RulesText,
  TokenAnswer,
  TokenRequest,
} from "./page-api.ts";
import { type PageFile, readPageFiles } from "./page-files.ts";
import { VIEWERS, type Viewer } from "./viewers.ts";
import { signToken } from "./watcher.ts";

/** The settings of the server of the demo's page. */
export interface PageOptions {
  readonly configFile: string;
  readonly env: NodeJS.ProcessEnv;
  readonly mongodbUri: string;
  readonly secret: string;
  /** Opens the console. */
  readonly adminToken: string;
  /** Writes per second, to begin with. */
  readonly rate: number;
  /** The page changes the write rate. */
  readonly onRate: (rate: number) => void;
  /** The page asks to kill the service. */
  readonly onKill: () => void;
}

const API = "/demo/api/";
const BODY_BYTES_MAX = 64 * 1024;
const RATE_MAX = 20;
/** Short, so that the page shows a token renewal. */
const TOKEN_GOOD_FOR = "2m";
/** Names of this machine. Any other name may point here by DNS rebinding. */
const OWN_HOST = /^(?:127\.0\.0\.1|localhost|\[::1\])(?::\d+)?$/;

/** The content security policy: the page may load from and connect to this service only. */
const securityHeaders = (host: string) => ({
  "content-security-policy":
    `default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self' ws://${host}; ` +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
});

class Refused extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** The demo's page, served by the node that it shows. It hands out tokens, so it must run on a developer's machine only. */
export class PageServer {
  readonly #options: PageOptions;
  readonly #files: ReadonlyMap<string, PageFile>;
  readonly #rules: BoardRules;
  readonly #found: AsFound;
  #rate: number;
  /** The port of the admin listener, once it listens. */
  #adminPort = 0;
  readonly #listens = deferred();

  private constructor(options: PageOptions, files: ReadonlyMap<string, PageFile>) {
    this.#options = options;
    this.#files = files;
    this.#rules = new BoardRules((path, body) => this.#askAdmin(path, body), options.configFile, options.env);
    this.#found = new AsFound(options.mongodbUri);
    this.#rate = options.rate;
  }

  static async open(options: PageOptions): Promise<PageServer> {
    return new PageServer(options, await readPageFiles());
  }

  close(): Promise<void> {
    return this.#found.close();
  }

  readonly setAdminPort = (port: number): void => {
    this.#adminPort = port;
    this.#listens.resolve();
  };

  /** `false` for what is not under `/demo`. */
  readonly answer = (request: IncomingMessage, response: ServerResponse): boolean => {
    const path = (request.url ?? "").split("?")[0] ?? "";
    if (path !== "/demo" && !path.startsWith("/demo/")) return false;
    const { host = "" } = request.headers;
    response.setHeader("cache-control", "no-store");
    for (const [name, value] of Object.entries(securityHeaders(host))) response.setHeader(name, value);
    if (!OWN_HOST.test(host))
      answerJson(response, 403, { error: "the demo answers only requests from this machine" });
    else if (path.startsWith(API)) this.#answerApi(path.slice(API.length), request, response);
    else this.#answerFile(path, response);
    return true;
  };

  #answerFile(path: string, response: ServerResponse): void {
    const file = this.#files.get(path);
    if (file === undefined) {
      const unbuilt = "the page was not built: npm run build:browser";
      answerJson(response, 404, { error: this.#files.size === 0 ? unbuilt : "there is no such file" });
      return;
    }
    response.writeHead(200, { "content-type": file.type, "content-length": file.bytes.length });
    response.end(file.bytes);
  }

  #answerApi(name: string, request: IncomingMessage, response: ServerResponse): void {
    this.#serve(name, request).then(
      (body) => {
        answerJson(response, 200, body);
        if (name === "kill") response.once("finish", this.#options.onKill);
      },
      (error: unknown) => {
        if (error instanceof Refused) answerJson(response, error.status, { error: error.message });
        else answerJson(response, 500, { error: "the request failed; the service's log says why" });
      },
    );
  }

  async #serve(name: string, request: IncomingMessage): Promise<object> {
    if (request.method === "GET" && name === "board") return this.#board();
    if (request.method === "GET" && name === "rules") return this.#rules.read() satisfies Promise<RulesText>;
    if (request.method !== "POST") throw new Refused(405, "use POST here");
    // Other pages in the same browser can send requests here, but not under this page's name.
    if (request.headers.origin !== `http://${request.headers.host}`) throw new Refused(403, "not this page");
    const body = await readJson(request);
    switch (name) {
      case "token":
        return this.#token(body as Partial<TokenRequest>);
      case "rules":
        return this.#saveRules(body as Partial<RulesRequest>);
      case "rate":
        return this.#setRate(body as Partial<RateRequest>);
      case "find":
        return this.#find(body as Partial<FindRequest>);
      case "kill":
        return {};
      default:
        throw new Refused(404, "there is no request of this name");
    }
  }

  async #board(): Promise<BoardAnswer> {
    const viewers = VIEWERS.map(({ name, title, sees }) => ({ name, title, sees }));
    await this.#listens.promise;
    const consoleUrl = consoleUrlOf(this.#adminPort, this.#options.adminToken);
    return { viewers, rate: this.#rate, rules: await this.#rules.read(), consoleUrl };
  }

  async #token({ viewer }: Partial<TokenRequest>): Promise<TokenAnswer> {
    return { token: signToken(viewerOf(viewer), this.#options.secret, TOKEN_GOOD_FOR) };
  }

  async #saveRules({ text, set }: Partial<RulesRequest>): Promise<RulesAnswer> {
    if (typeof text !== "string") throw new Refused(400, "text is the rules");
    if (typeof set !== "number" || !Number.isInteger(set) || set < 0)
      throw new Refused(400, "set is the number of the rule set from which the edit starts");
    return this.#rules.write({ text, set });
  }

  /** Asks the API for admins of this service, which answers refusals of an edit as data, too. */
  async #askAdmin(path: string, body?: object): Promise<unknown> {
    await this.#listens.promise;
    const url = `http://127.0.0.1:${this.#adminPort}${ADMIN_API}${path}`;
    const headers = {
      authorization: `Bearer ${this.#options.adminToken}`,
      "content-type": "application/json",
    };
    const sent = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
    const response = await fetch(url, { headers, ...sent });
    const answer: unknown = await response.json();
    if (!response.ok && body === undefined) throw new Refused(503, "the service is starting: try again");
    return answer;
  }

  #setRate({ rate }: Partial<RateRequest>): object {
    if (typeof rate !== "number" || !(rate >= 0 && rate <= RATE_MAX)) {
      throw new Refused(400, `rate is a number from 0 to ${RATE_MAX}`);
    }
    this.#rate = rate;
    this.#options.onRate(rate);
    return {};
  }

  async #find({ viewer }: Partial<FindRequest>): Promise<FindAnswer> {
    return this.#found.find(await this.#rules.config(), viewerOf(viewer));
  }
}

function viewerOf(name: unknown): Viewer {
  const viewer = VIEWERS.find((one) => one.name === name);
  if (viewer === undefined) throw new Refused(400, "viewer is one of the board's");
  return viewer;
}

async function readJson(request: IncomingMessage): Promise<object> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  // Without an encoding, the chunks of a request are buffers.
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) throw new Refused(413, `at most ${BODY_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  try {
    const body: unknown = JSON.parse(Buffer.concat(chunks).toString());
    if (typeof body === "object" && body !== null) return body;
  } catch {
    // Refused below, as a body that is not an object.
  }
  throw new Refused(400, "the body is a JSON object");
}

function answerJson(response: ServerResponse, status: number, body: object): void {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    "content-type": "application/json; charset=utf-8",
    "content-length": Buffer.byteLength(text),
  });
  response.end(text);
}
