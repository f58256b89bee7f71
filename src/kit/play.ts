/** Plays one scenario: each step in turn, and the judgement of what the client shows and sends. */
import { isDeepStrictEqual } from "node:util";
import type { Deployment } from "./deployment.ts";
import type { DriverProcess, Line } from "./driver.ts";
import { Events, type Wait } from "./events.ts";
import { Followed } from "./followed.ts";
import { ClientProxy } from "./proxy.ts";
import { type Follow, fits, type Oracle, type Scenario, type Step } from "./scenario.ts";
import { checkCounts, checkEnds, checkMessages } from "./sent.ts";
import { storm } from "./storm.ts";

type Doc = Readonly<Record<string, unknown>>;
type StepWith<K extends string> = Extract<Step, Record<K, unknown>>;

/** A client under test. */
interface Client {
  readonly proxy: ClientProxy;
  /** Its number for the driver; undefined until it follows something. */
  n: number | undefined;
  claims: Doc | null;
  tokenSeconds: number;
  /** Requests for another token, besides the one that the driver was started with. */
  tokensAsked: number;
}

const TOKEN_SECONDS = 3_600;

export class Play {
  readonly #deployment: Deployment;
  readonly #scenario: Scenario;
  readonly #driver: DriverProcess;
  readonly #patienceMs: number;
  readonly #events = new Events();
  readonly #clients = new Map<string, Client>();
  readonly #followed = new Map<string, Followed>();
  readonly #answers = new Map<number, Line>();
  readonly #failures: string[] = [];
  #asked = 0;

  /** @param patienceMs How long a client may take for what it has to do. */
  constructor(scenario: Scenario, deployment: Deployment, driver: DriverProcess, patienceMs: number) {
    this.#scenario = scenario;
    this.#deployment = deployment;
    this.#driver = driver;
    this.#patienceMs = patienceMs;
  }

  /** @throws {Error} The client does something else than the scenario says; the text names the step. */
  async run(): Promise<void> {
    for (const [index, step] of this.#scenario.steps.entries()) {
      try {
        await this.#do(step);
      } catch (cause) {
        const text = cause instanceof Error ? cause.message : String(cause);
        throw new Error(`step ${index}, ${JSON.stringify(step)}: ${text}`, { cause });
      }
    }
    const complaints = [...this.#followed.values()].flatMap(({ complaints }) => complaints);
    if (complaints.length > 0) throw new Error(complaints.join("\n"));
  }

  stop(): void {
    for (const { n, proxy } of this.#clients.values()) {
      if (n !== undefined) this.#driver.send({ n, leave: true });
      proxy.stop();
    }
  }

  async #do(step: Step): Promise<void> {
    if ("database" in step) return this.#deployment.write(step.database);
    if ("follow" in step) return this.#follow(step);
    if ("settle" in step) {
      for (const name of [step.settle].flat()) await this.#settle(name, step.oracle);
      return;
    }
    if ("expect" in step) return this.#expect(step);
    if ("storm" in step) return storm(step, this.#deployment.db, this.#client(step.storm).proxy, this.#wait);
    if ("service" in step)
      return step.service === "drain" ? this.#deployment.drain() : this.#deployment.restart();
    if ("edit" in step) return this.#deployment.edit(step.edit);
    if ("wait" in step) return new Promise((resolve) => setTimeout(resolve, step.wait));
    if ("leave" in step) {
      const { n, follow } = this.#query(step.leave);
      return this.#driver.send({ n, q: follow.follow, leave: true });
    }
    if ("passed" in step) return checkMessages(step, this.#client(step.passed).proxy, this.#wait);
    if ("never" in step) return checkMessages(step, this.#client(step.never).proxy, this.#wait);
    if ("sent" in step) return checkMessages(step, this.#client(step.sent).proxy, this.#wait);
    if ("connections" in step) return checkCounts(step, this.#client(step.connections), this.#wait);
    if ("tokensAsked" in step) return checkCounts(step, this.#client(step.tokensAsked), this.#wait);
    if ("pause" in step) return checkCounts(step, this.#client(step.pause), this.#wait);
    if ("ended" in step) return checkEnds(step, this.#client(step.ended).proxy, this.#wait);
    this.#break(step);
  }

  /** Breaks or changes the connection of a client. */
  #break(
    step:
      | StepWith<"arm">
      | StepWith<"cut">
      | StepWith<"close">
      | StepWith<"send">
      | StepWith<"refuse">
      | StepWith<"silence">
      | StepWith<"tokensOf">,
  ): void {
    if ("arm" in step) this.#client(step.arm).proxy.arm(step);
    else if ("cut" in step) this.#client(step.cut).proxy.cut();
    else if ("close" in step) this.#client(step.close).proxy.close(step.code, step.send);
    else if ("send" in step) this.#client(step.send).proxy.send(step.messages);
    else if ("refuse" in step) this.#client(step.refuse).proxy.refuse(step.status, step.times);
    else if ("silence" in step) this.#client(step.silence).proxy.silence();
    else {
      const client = this.#client(step.tokensOf);
      client.claims = step.claims ?? client.claims;
      client.tokenSeconds = step.seconds ?? client.tokenSeconds;
    }
  }

  async #follow(step: Follow): Promise<void> {
    const { follow, client: name = follow, request, claims = { sub: "u1" }, values = "json" } = step;
    const client = this.#client(name);
    const isFirst = client.n === undefined;
    client.n ??= this.#driver.client((line) => this.#take(client, line));
    const { n } = client;
    this.#followed.set(follow, new Followed(step, n));
    if (!isFirst) return this.#driver.send({ n, q: follow, follow: { request } });
    client.claims = claims;
    client.tokenSeconds = step.tokenSeconds ?? TOKEN_SECONDS;
    const [url, token] = [await client.proxy.listen(), await this.#token(client)];
    this.#driver.send({ n, q: follow, follow: { url, token, values, request } });
  }

  /** The client of a name, which need not follow anything yet. */
  #client(name: string): Client {
    const known = this.#clients.get(name);
    if (known !== undefined) return known;
    const proxy = new ClientProxy(this.#events, () => this.#deployment.url);
    proxy.holdsWelcome = this.#scenario.steps.some((step) => "beforeWelcome" in step);
    const client = { proxy, n: undefined, claims: null, tokenSeconds: TOKEN_SECONDS, tokensAsked: 0 };
    this.#clients.set(name, client);
    return client;
  }

  #query(name: string): Followed {
    const query = this.#followed.get(name);
    if (query === undefined) throw new Error(`no step follows ${name}`);
    return query;
  }

  #take(client: Client, line: Line): void {
    if (line.answer !== undefined) this.#answers.set(line.answer, line);
    if (line.failure !== undefined && line.answer === undefined) this.#failures.push(line.failure);
    if (line.wants === "token") {
      client.tokensAsked++;
      void this.#token(client).then((token) => this.#driver.send({ n: client.n ?? 0, token }));
    }
    for (const query of this.#followed.values()) {
      const isMeant = line.q === undefined || line.q === query.follow.follow;
      if (query.n === client.n && isMeant) query.take(line);
    }
    this.#events.happened();
  }

  async #token({ claims, tokenSeconds }: Client): Promise<string | null> {
    return claims === null ? null : this.#deployment.token(claims, tokenSeconds);
  }

  /** Waits for something that the client or the service does. */
  readonly #wait: Wait = (find, what) =>
    this.#events.until(
      () => {
        const [failure = this.#driver.ended] = this.#failures;
        if (failure !== undefined) throw new Error(failure);
        return find();
      },
      what,
      this.#patienceMs,
    );

  /** Waits until the client shows everything that was written so far, and compares. */
  async #settle(name: string, oracle: Oracle | undefined): Promise<void> {
    const query = this.#query(name);
    const { n, follow } = query;
    await this.#wait(() => query.status === "live" || undefined, `the status live of ${name}`);
    const ask = ++this.#asked;
    this.#driver.send({ n, q: follow.follow, ask, fence: await this.#deployment.now() });
    const answer = await this.#wait(() => this.#answers.get(ask), `the answer to the fence ${ask}`);
    if (answer.failure !== undefined) throw new Error(`the fence failed: ${answer.failure}`);
    const wrong = await query.judge(answer.documents ?? [], this.#deployment.db, oracle ?? follow.oracle);
    if (wrong.length > 0) throw new Error(wrong.join("\n"));
  }

  async #expect(step: StepWith<"expect">): Promise<void> {
    const query = this.#query(step.expect);
    const shows = () => {
      if ("status" in step) return query.status === step.status;
      if ("statuses" in step) return isPartOf(step.statuses, query.statuses);
      if ("stopped" in step) return hasStopped(query, step);
      return isDeepStrictEqual(query.held, step.documents);
    };
    const now = () =>
      JSON.stringify({
        statuses: query.statuses,
        stopped: query.stopped,
        shown: query.shownAtEnd,
        documents: query.held,
      });
    await this.#wait(() => shows() || undefined, "what the step expects").catch((cause) => {
      throw new Error(`${cause instanceof Error ? cause.message : cause}; the client shows ${now()}`, {
        cause,
      });
    });
  }
}

/** Whether a query has ended with an error that fits, and shows these documents since. */
function hasStopped(
  { status, stopped, shownAtEnd }: Followed,
  step: { readonly stopped: string; readonly shows?: readonly Doc[] | undefined },
): boolean {
  if (status !== "stopped" || !fits(stopped, step.stopped)) return false;
  return step.shows === undefined || isDeepStrictEqual(shownAtEnd, step.shows);
}

/** Whether a list has these elements in their order; others may lie between them. */
function isPartOf(part: readonly string[], whole: readonly string[]): boolean {
  let at = 0;
  for (const one of whole) if (one === part[at]) at++;
  return at === part.length;
}
