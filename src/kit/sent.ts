/** Checks of what a client has sent and received, and of its connections. */
import type { Wait } from "./events.ts";
import type { ClientProxy, Connection } from "./proxy.ts";
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
  const arrivals = () => {
    const connection = proxy.connections.at(-1);
    if (connection === undefined || proxy.isConnecting) return undefined;
    const { sent, sentAtMs, sentBeforeWelcome } = connection;
    const begin = step.afterWelcome ? (sentBeforeWelcome ?? sent.length) : 0;
    const end = step.beforeWelcome ? (sentBeforeWelcome ?? 0) : sent.length;
    seen = sent.slice(begin, end);
    const found = matching(step.messages, seen, proxy);
    return found.length < step.messages.length ? undefined : found.map((at) => sentAtMs[begin + at] ?? 0);
  };
  const atMs = await wait(arrivals, "the messages of the client").catch((cause) => {
    const text = cause instanceof Error ? cause.message : cause;
    throw new Error(`${text}; the client has sent ${JSON.stringify(seen)}`, { cause });
  });
  const { apartMs = 0 } = step;
  const tooSoon = atMs.find((at, index) => index > 0 && at - (atMs[index - 1] ?? 0) < apartMs);
  if (tooSoon !== undefined) throw new Error(`less than ${apartMs} ms apart: the messages of ${atMs} ms`);
}

/** The indexes of the messages that fit the patterns in their order, as far as they do; others may lie between them. */
function matching(
  patterns: readonly Message[],
  messages: readonly Message[],
  proxy: ClientProxy,
): readonly number[] {
  const found: number[] = [];
  for (const [index, message] of messages.entries()) {
    const pattern = patterns[found.length];
    if (pattern !== undefined && fits(message, filledIn(pattern, message, proxy))) found.push(index);
  }
  return found;
}

/** Replaces `<ticket>` and `<cursor>` by the ticket and a cursor with which the client resumes on its last connection. */
function filledIn(pattern: Message, { id, cursor }: Message, { connections }: ClientProxy): Message {
  const before = connections.slice(0, -1);
  const filled = { ...pattern };
  if (pattern["ticket"] === "<ticket>") filled["ticket"] = newestTicket(id, before);
  if (pattern["cursor"] === "<cursor>" && currentCursors(id, before).has(cursor)) filled["cursor"] = cursor;
  return filled;
}

/** The newest ticket that the client has received for a subscription. */
function newestTicket(id: unknown, connections: readonly Connection[]): unknown {
  let ticket: unknown;
  for (const message of connections.flatMap(({ passed }) => passed)) {
    const { type, tickets } = message;
    if (type === "subscribed" && message["id"] === id) ticket = message["ticket"];
    if (type === "tickets") ticket = (tickets as Message)[String(id)] ?? ticket;
  }
  return ticket;
}

const CHANGES = new Set<unknown>(["snapshot", "added", "changed", "removed"]);

/**
 * The cursors that the client has received for a subscription since its last change. A scenario cuts the connection at any time, so
 * the client need not have read the newest of them.
 */
function currentCursors(id: unknown, connections: readonly Connection[]): ReadonlySet<unknown> {
  let cursors = new Set<unknown>();
  for (const { passed } of connections) {
    let number: unknown; // of the live query; each connection counts its own
    for (const { type, query, cursor, ...message } of passed) {
      if (type === "subscribed" && message["id"] === id) number = query;
      else if (CHANGES.has(type) && query === number) cursors = new Set([cursor]);
      else if (type === "watermark" && number !== undefined) cursors.add(cursor);
    }
  }
  return cursors;
}

/** Waits until a connection of the client has ended, and checks who ended it and those before. */
export async function checkEnds(
  { by }: StepWith<"ended">,
  { connections }: ClientProxy,
  wait: Wait,
): Promise<void> {
  const hasEnded = () => connections.some(({ endedBy }) => endedBy !== undefined) || undefined;
  await wait(hasEnded, "the end of a connection");
  const other = connections.find(({ endedBy }) => endedBy !== undefined && endedBy !== by);
  if (other !== undefined)
    throw new Error(`a connection was ended by the ${other.endedBy}, not by the ${by}`);
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
  if ("connections" in step) {
    const { overMs, perMinute = Number.POSITIVE_INFINITY } = step;
    const tookMs = (attemptsAtMs[atLeast - 1] ?? 0) - (attemptsAtMs[0] ?? 0);
    if (overMs !== undefined && tookMs < overMs)
      throw new Error(`${atLeast} connections in ${tookMs} ms, not over ${overMs} ms`);
    if (mostPerMinute(attemptsAtMs) > perMinute)
      throw new Error(`at most ${perMinute} connections in a minute, not ${mostPerMinute(attemptsAtMs)}`);
  }
  if (count() > atMost) throw new Error(`at most ${atMost}, not ${count()}`);
}

/** The clock of the client may run ahead of the arrival of its connection by the rest of the minute. */
const MINUTE_MS = 55_000;

/** The most attempts within any minute. */
const mostPerMinute = (attemptsAtMs: readonly number[]) =>
  Math.max(
    ...attemptsAtMs.map((from) => attemptsAtMs.filter((at) => at >= from && at < from + MINUTE_MS).length),
  );
