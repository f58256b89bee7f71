import { type Config, loadConfig } from "../config/config.ts";
import { readConfigText } from "../config/config-text.ts";
import { readCollections, termsOf } from "../config/rule-set.ts";
import { demoRules } from "./demo-config.ts";
import type { RulesAnswer, RulesRequest, RulesText } from "./page-api.ts";
import { joinRules, splitRules } from "./rules-text.ts";

/** The rule set in force, as `GET /rules` of the API for admins answers. */
interface InForce {
  readonly text: string;
  readonly tests: string;
  readonly parent: number;
}

/** The parts of an answer of `POST /rules/apply` that the page shows. */
interface Applied {
  readonly applied?: number | null;
  readonly problems?: readonly { readonly line: number; readonly message: string }[];
  readonly failures?: readonly { readonly test: string; readonly expected: string; readonly found: string }[];
  readonly conflict?: { readonly text: string; readonly inForce: number };
  readonly unconfirmed?: { readonly text: string };
  readonly error?: string;
}

/** Asks the API for admins of the service. */
export type AskAdmin = (path: string, body?: object) => Promise<unknown>;

const MESSAGE = "An edit on the demo's page";

/** The rules of the board. The page edits them by the same rule sets, and over the same API, as the console does. */
export class BoardRules {
  readonly #ask: AskAdmin;
  readonly #configFile: string;
  readonly #env: NodeJS.ProcessEnv;

  constructor(ask: AskAdmin, configFile: string, env: NodeJS.ProcessEnv) {
    this.#ask = ask;
    this.#configFile = configFile;
    this.#env = env;
  }

  /** The configuration of the service, with the rules in force. */
  async config(): Promise<Config> {
    const config = await loadConfig(this.#configFile, this.#env);
    const { text } = await this.#inForce();
    const read = readCollections(readConfigText(text, "the rules in force", {}), termsOf(config));
    if (!read.ok) throw new Error("the rule set in force has mistakes");
    return { ...config, collections: read.collections };
  }

  async read(): Promise<RulesText> {
    const { text, parent } = await this.#inForce();
    return { set: parent, text: splitRules(text).rules, original: splitRules(await demoRules()).rules };
  }

  /** Puts an edit in force, unless another one came into force since its text was read. */
  async write({ text, set }: RulesRequest): Promise<RulesAnswer> {
    const { text: before, tests } = await this.#inForce();
    const parts = splitRules(before);
    const edit = {
      text: joinRules(parts, text),
      tests: tests === "" ? null : tests,
      message: MESSAGE,
      parent: set,
    };
    const answer = (await this.#ask("/rules/apply", edit)) as Applied; // as the endpoint answers
    const { applied, problems = [], failures = [], conflict, unconfirmed, error } = answer;
    const lines = text.trimEnd().split("\n").length;
    const within = (line: number) => Math.min(lines, Math.max(1, line - parts.linesBefore));
    const refused = [
      ...problems.map(({ line, message }) => ({ line: within(line), message })),
      ...failures.map(({ test, expected, found }) => ({
        line: 1,
        message: `${test}: expected ${expected}, found ${found}`,
      })),
      ...[conflict?.text, unconfirmed?.text, error].flatMap((message) =>
        message === undefined ? [] : [{ line: 1, message }],
      ),
    ];
    return { problems: refused, set: applied ?? null, inForce: conflict?.inForce ?? null };
  }

  async #inForce(): Promise<InForce> {
    return (await this.#ask("/rules")) as InForce; // as the endpoint answers with rules.from: database
  }
}
