/** The files of scenarios (docs/protocol-kit/README.md): what a client must do, as steps of a conversation with a real service. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";

const document = z.record(z.string(), z.unknown());
const client = z.string().min(1);
const collections = z.record(z.string(), z.unknown());

/** The treatment of a message that fits a pattern. Without `drop` the message itself passes first. */
const actionSchema = z.strictObject({
  /** How long a message of the service waits, and those after it. */
  holdMs: z.number().optional(),
  drop: z.literal(true).optional(),
  /** Messages that the client receives then; `<id>` is the id of the message. */
  send: z.array(document).optional(),
  /** Fields that the message receives. */
  add: document.optional(),
  close: z.number().int().optional(),
  cut: z.literal(true).optional(),
});
export type Action = z.output<typeof actionSchema>;

/** The server's own answer to a query: `find`, or `aggregate`. */
const oracleSchema = z.union([
  z.strictObject({
    find: z.string(),
    filter: document.optional(),
    projection: document.optional(),
    sort: document.optional(),
    limit: z.number().int().optional(),
  }),
  z.strictObject({ aggregate: z.string(), pipeline: z.array(document) }),
]);
export type Oracle = z.output<typeof oracleSchema>;

const requestSchema = z.looseObject({ collection: z.string() });

const followSchema = z.strictObject({
  follow: z.string(),
  /** Queries with the same client share its connection. Default: a client of its own, of the same name. */
  client: client.optional(),
  request: requestSchema,
  claims: document.nullable().optional(),
  tokenSeconds: z.number().optional(),
  values: z.enum(["json", "ejson"]).optional(),
  oracle: oracleSchema.optional(),
});
const armSchema = z
  .strictObject({
    arm: client,
    /** A pattern of a message of the service, or of the client. */
    on: document.optional(),
    request: document.optional(),
    nth: z.number().int().positive().optional(),
    times: z.number().int().positive().optional(),
    do: actionSchema,
  })
  .refine(({ on, request }) => (on === undefined) !== (request === undefined), "either on or request");

const stepSchema = z.union([
  z.strictObject({ database: z.union([document, z.array(document)]) }),
  followSchema,
  z.strictObject({ leave: z.string() }),
  z.strictObject({ settle: z.union([z.string(), z.array(z.string())]), oracle: oracleSchema.optional() }),
  z.strictObject({ expect: z.string(), status: z.string() }),
  z.strictObject({ expect: z.string(), statuses: z.array(z.string()) }),
  z.strictObject({ expect: z.string(), stopped: z.string(), shows: z.array(document).optional() }),
  z.strictObject({ expect: z.string(), documents: z.array(document) }),
  z.strictObject({ tokensOf: client, claims: document.optional(), seconds: z.number().optional() }),
  z.strictObject({ tokensAsked: client, atLeast: z.number().optional(), atMost: z.number().optional() }),
  armSchema,
  z.strictObject({ cut: client }),
  z.strictObject({ close: client, code: z.number().int(), send: z.array(document).optional() }),
  z.strictObject({ send: client, messages: z.array(document) }),
  z.strictObject({ refuse: client, status: z.number().int(), times: z.number().int() }),
  z.strictObject({ silence: client }),
  z.strictObject({ passed: client, message: document }),
  z.strictObject({ never: client, message: document }),
  z.strictObject({
    sent: client,
    messages: z.array(document),
    beforeWelcome: z.literal(true).optional(),
    afterWelcome: z.literal(true).optional(),
    apartMs: z.number().optional(),
  }),
  z.strictObject({
    connections: client,
    atLeast: z.number().optional(),
    atMost: z.number().optional(),
    perMinute: z.number().optional(),
    overMs: z.number().optional(),
  }),
  z.strictObject({ ended: client, by: z.enum(["client", "service", "scenario"]) }),
  z.strictObject({ pause: client, atLeastMs: z.number() }),
  z.strictObject({ service: z.enum(["drain", "restart"]) }),
  z.strictObject({ edit: collections }),
  z.strictObject({ storm: client, collection: z.string(), writes: z.number().int(), cuts: z.number().int() }),
  z.strictObject({ wait: z.number() }),
]);
export type Step = z.output<typeof stepSchema>;
export type Follow = z.output<typeof followSchema>;
export type Arm = z.output<typeof armSchema>;

/** Abilities that a client may lack. */
export const ABILITIES = ["queries", "deltas", "http-status"] as const;

const scenarioSchema = z.strictObject({
  name: z.string(),
  /** The step of docs/building-a-client.md that it verifies. */
  step: z.number().int(),
  needs: z.array(z.enum(ABILITIES)).optional(),
  /** Parts of the configuration of the service. */
  service: z.record(z.string(), z.record(z.string(), z.unknown())).optional(),
  steps: z.array(stepSchema).min(1),
});
export type Scenario = z.output<typeof scenarioSchema>;

/**
 * Reads all scenarios of a folder, in the order of their file names.
 * @throws {Error} The file does not follow the format; the text names the field.
 */
export async function readScenarios(folder: string): Promise<Scenario[]> {
  const files = (await readdir(folder)).filter((file) => file.endsWith(".json")).sort();
  return Promise.all(
    files.map(async (file) => {
      const parsed = scenarioSchema.safeParse(JSON.parse(await readFile(join(folder, file), "utf8")));
      if (parsed.success) return parsed.data;
      throw new Error(`${file} does not follow the format: ${z.prettifyError(parsed.error)}`);
    }),
  );
}

/** Whether a message has every field of a pattern. `"<string>"` fits any string, `"<absent>"` a field that is missing. */
export function fits(message: unknown, pattern: unknown): boolean {
  if (pattern === "<string>") return typeof message === "string";
  if (pattern === "<absent>") return message === undefined;
  if (typeof pattern !== "object" || pattern === null) return message === pattern;
  if (typeof message !== "object" || message === null) return false;
  if (Array.isArray(pattern) !== Array.isArray(message)) return false;
  return Object.entries(pattern).every(([name, value]) => fits(Reflect.get(message, name), value));
}
