/** The scenario of a load run: who connects, to which live queries, and which documents the writers write. */
import { readFile } from "node:fs/promises";
import { parse } from "yaml";
import { z } from "zod";
import { parseUntrusted } from "../../protocol/parse-untrusted.ts";
import { UsageError } from "../command.ts";
import { MARK_FIELD } from "./mark.ts";
import { compileTemplate, type Names, type Template, type Values } from "./template.ts";

/** `i` numbers the users from 0; `user` is the claim `sub`. */
const CLAIM_NAMES: Names = { i: "number" };
const FILTER_NAMES: Names = { i: "number", user: "text" };
/** `d` numbers the documents from 0; `w` is the number of their writer. */
const DOCUMENT_NAMES: Names = { d: "number", w: "number" };

const EXAMPLE = `claims: { sub: "user-{{i}}" }
subscriptions:
  - collection: orders
    filter: { customer: "{{user}}" }
documents: 100
document: { customer: "user-{{d}}" }`;

const fields = z.record(z.string(), z.json());

const Scenario = z.strictObject({
  claims: fields.default({ sub: "load-{{i}}" }),
  subscriptions: z
    .array(
      z.strictObject({
        collection: z.string().min(1),
        filter: fields.optional(),
        fields: z.array(z.string().min(1)).min(1).optional(),
      }),
    )
    .min(1)
    .max(100),
  documents: z.int().min(1).max(100_000).default(100),
  document: fields.default({}),
});

/** A scenario as it is in the file, which threads receive. */
export type ScenarioText = z.output<typeof Scenario>;

/** A request of a virtual user. */
export interface UserRequest {
  readonly collection: string;
  readonly filter?: Record<string, unknown>;
  readonly fields?: readonly string[];
}

/** A virtual user: its claims and its requests. */
export interface UserTerms {
  readonly claims: Record<string, unknown>;
  readonly requests: readonly UserRequest[];
}

/** A scenario whose placeholders are compiled. */
export interface CompiledScenario {
  readonly documents: number;
  /** The collections of the subscriptions, each once. */
  readonly collections: readonly string[];
  user(i: number): UserTerms;
  document(d: number, writer: number): Record<string, unknown>;
}

/**
 * Reads a scenario from a file, or from the text of the option itself if that is an object of JSON.
 * @throws {UsageError} It cannot be read, or has a mistake.
 */
export async function readScenario(option: string | undefined): Promise<ScenarioText> {
  if (option === undefined || option === "") {
    throw new UsageError(
      `--scenario is needed: a file (YAML or JSON), or JSON inline, with the subscriptions. For example:\n\n${EXAMPLE}\n`,
    );
  }
  const isInline = option.trimStart().startsWith("{");
  const name = isInline ? "--scenario" : option;
  const text = isInline ? option : await readText(option);
  let value: unknown;
  try {
    value = parse(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.split("\n")[0] : String(cause);
    throw new UsageError(`${name} is neither YAML nor JSON: ${reason}`, { cause });
  }
  const parsed = parseUntrusted(Scenario, value);
  if (!parsed.success) {
    const problems = parsed.error.issues.map(
      ({ path, message }) => `- ${path.join(".") || "(the whole)"}: ${message}`,
    );
    throw new UsageError(
      `${name} is not a scenario:\n${problems.join("\n")}\nA scenario looks like this:\n\n${EXAMPLE}\n`,
    );
  }
  compileScenario(parsed.data);
  return parsed.data;
}

/** @throws {UsageError} A placeholder has a mistake. */
export function compileScenario(scenario: ScenarioText): CompiledScenario {
  if (Object.hasOwn(scenario.document, MARK_FIELD) || Object.hasOwn(scenario.document, "_id"))
    throw new UsageError(`document: ${MARK_FIELD} and _id are set by the writers; choose another field`);
  const claims = compileTemplate(scenario.claims, CLAIM_NAMES, "claims");
  const document = compileTemplate(scenario.document, DOCUMENT_NAMES, "document");
  const requests = scenario.subscriptions.map((subscription, at) => ({
    ...subscription,
    filter: compileTemplate(subscription.filter, FILTER_NAMES, `subscriptions[${at}].filter`),
  }));
  return {
    documents: scenario.documents,
    collections: [...new Set(requests.map(({ collection }) => collection))],
    user: (i) => {
      const filled = fill(claims, { i });
      // A `sub` is a text (RFC 7519, section 4.1.2), although `"{{i}}"` alone is a number.
      const own = filled["sub"] === undefined ? filled : { ...filled, sub: String(filled["sub"]) };
      const values = { i, user: String(own["sub"] ?? "") };
      return { claims: own, requests: requests.map((request) => toRequest(request, values)) };
    },
    document: (d, w) => fill(document, { d, w }),
  };
}

interface RequestTemplate {
  readonly collection: string;
  readonly filter: Template;
  readonly fields?: readonly string[] | undefined;
}

function toRequest({ collection, filter, fields: wanted }: RequestTemplate, values: Values): UserRequest {
  const filled = filter(values);
  return {
    collection,
    // A template of an object fills to an object.
    ...(filled === undefined ? {} : { filter: filled as Record<string, unknown> }),
    ...(wanted === undefined ? {} : { fields: [...new Set([...wanted, MARK_FIELD])] }),
  };
}

/** A template of an object fills to an object. */
const fill = (template: Template, values: Values) => template(values) as Record<string, unknown>;

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : cause;
    throw new UsageError(
      `--scenario ${file} cannot be read (${code}): give a file, or JSON that begins with {`,
      { cause },
    );
  }
}
