/** Checks of what a client has sent and received, and of its connections. */
import type { Wait } from "./events.ts";
import type { ClientProxy } from "./proxy.ts";
import { fits, type Step } from "./scenario.ts";

type Message = Readonly<Record<string, unknown>>;
type StepWith<K extends string> = Extract<Step, Record<K, unknown>>;

export async function checkMessages(
  step: StepWith<"passed"> | StepWith<"never"> | StepWith<"sent">,
  proxy: ClientProxy,
  wait: Wait,
): Promise<void> {
  const hasPassed = (message: Message) =>
    proxy.connections.some(({ passed }) => passed.some((one) => fits(one, message)));
  if ("passed" in step) return void (await wait(() => hasPassed(step.message) || undefined, "the message"));
  if ("never" in step) {
    const sent = proxy.connections.flatMap((connection) => connection.sent);
    if (sent.some((message) => fits(message, step.message)))
      throw new Error("the client has sent the message");
    return;
  }
  let seen: readonly Message[] = [];
  const isSent = () => {
    const connection = proxy.connections.at(-1);
    const end = step.beforeWelcome ? connection?.sentBeforeWelcome : connection?.sent.length;
    seen = connection?.sent.slice(0, end ?? 0) ?? [];
    return isPartOf(step.messages, seen, proxy) || undefined;
  };
  await wait(isSent, "the messages of the client").catch((cause) => {
    throw new Error(`the client has sent ${JSON.stringify(seen)}`, { cause });
  });
}

/** Whether messages fit the patterns in their order; others may lie between them. */
function isPartOf(patterns: readonly Message[], messages: readonly Message[], proxy: ClientProxy): boolean {
  let at = 0;
  for (const message of messages) {
    const pattern = patterns[at];
    if (pattern !== undefined && fits(message, filledIn(pattern, message, proxy))) at++;
  }
  return at === patterns.length;
}

/** `<ticket>` is the newest ticket that the client had received for the id of the message when it connected. */
function filledIn(pattern: Message, { id }: Message, { connections }: ClientProxy): Message {
  if (pattern["ticket"] !== "<ticket>") return pattern;
  let ticket: unknown;
  for (const message of connections.slice(0, -1).flatMap(({ passed }) => passed)) {
    const { type, tickets } = message;
    if (type === "subscribed" && message["id"] === id) ticket = message["ticket"];
    if (type === "tickets") ticket = (tickets as Message)[String(id)] ?? ticket;
  }
  return { ...pattern, ticket };
}

export async function checkCounts(
  step: StepWith<"connections"> | StepWith<"tokensAsked"> | StepWith<"pause">,
  client: { readonly proxy: ClientProxy; readonly tokensAsked: number },
  wait: Wait,
): Promise<void> {
  const { attemptsAtMs, connections } = client.proxy;
  if ("pause" in step) {
    const ended = connections.findLast(({ endedAtMs }) => endedAtMs !== undefined)?.endedAtMs ?? 0;
    const attempt = await wait(() => attemptsAtMs.find((at) => at >= ended), "another connection");
    if (attempt - ended < step.atLeastMs) throw new Error(`the client came back after ${attempt - ended} ms`);
    return;
  }
  const { atLeast = 0, atMost = Number.POSITIVE_INFINITY } = step;
  const count = () => ("connections" in step ? attemptsAtMs.length : client.tokensAsked);
  await wait(() => count() >= atLeast || undefined, `${atLeast}, not ${count()}`);
  if ("connections" in step && step.perMinute !== undefined && mostPerMinute(attemptsAtMs) > step.perMinute)
    throw new Error(`at most ${step.perMinute} connections in a minute, not ${mostPerMinute(attemptsAtMs)}`);
  if (count() > atMost) throw new Error(`at most ${atMost}, not ${count()}`);
}

/** The clock of the client may run ahead of the arrival of its connection by the rest of the minute. */
const MINUTE_MS = 55_000;

/** The most attempts within any minute. */
const mostPerMinute = (attemptsAtMs: readonly number[]) =>
  Math.max(
    ...attemptsAtMs.map((from) => attemptsAtMs.filter((at) => at >= from && at < from + MINUTE_MS).length),
  );
