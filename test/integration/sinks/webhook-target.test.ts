/** Webhooks to a real HTTP receiver, which verifies them with the library of Standard Webhooks. */
import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Webhook } from "standardwebhooks";
import { expect, onTestFinished, test } from "vitest";
import { ACCEPTED, forever, sinkMessage, sinkMessages, targetOf } from "../../support/sink-messages.ts";

const secretOf = (byte: number) => `whsec_${Buffer.alloc(32, byte).toString("base64")}`;
const SECRET = secretOf(1);

interface Received {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

type Answer = (response: ServerResponse, received: Received) => void;

/** A receiver. @param answer Gets each request; without it every answer is 204. */
async function startReceiver(answer: Answer = (response) => void response.writeHead(204).end()) {
  const received: Received[] = [];
  const server = createServer(async (request, response) => {
    const body = Buffer.concat(await request.toArray()).toString();
    const one = { headers: request.headers, body };
    received.push(one);
    answer(response, one);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return { received, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook` };
}

function webhookTo(url: string, change: object = {}) {
  const webhook = { url, secret: SECRET, allowPrivate: true, ...change };
  return targetOf({ webhook });
}

const verify = (secret: string, { headers, body }: Received) =>
  new Webhook(secret).verify(body, headers as Record<string, string>);

test("a message is a signed CloudEvent in structured mode, with the event's id as webhook-id", async () => {
  const { received, url } = await startReceiver();
  const target = await webhookTo(url, { headers: { authorization: "Bearer abc" } });
  expect(target.batchSize).toBe(1);
  const message = sinkMessage("c1.abc", '"ä"', { doc: { name: "Zoë 🚲" } });
  expect(await target.send([message], forever())).toEqual([ACCEPTED]);
  const [one] = received;
  expect(one?.headers).toMatchObject({
    "content-type": "application/cloudevents+json",
    "webhook-id": "c1.abc",
    authorization: "Bearer abc",
    "user-agent": "tidewire",
  });
  const age = Date.now() / 1_000 - Number(one?.headers["webhook-timestamp"]);
  expect(Math.abs(age)).toBeLessThan(60);
  expect(verify(SECRET, one!)).toEqual(message.event);
  expect(() => verify(secretOf(2), one!)).toThrow("No matching signature");
});

test("during a rotation a receiver verifies a message with either secret", async () => {
  const { received, url } = await startReceiver();
  const target = await webhookTo(url, { secret: [secretOf(2), SECRET] });
  await target.send([sinkMessage("c1.abc")], forever());
  for (const secret of [SECRET, secretOf(2)])
    expect(verify(secret, received[0]!)).toMatchObject({ id: "c1.abc" });
  expect(() => verify(secretOf(3), received[0]!)).toThrow("No matching signature");
});

test("a repetition has the same id and body, and the signature of its own time", async () => {
  const { received, url } = await startReceiver();
  const target = await webhookTo(url);
  for (let attempt = 0; attempt < 2; attempt++) await target.send([sinkMessage("c1.abc")], forever());
  const [first, second] = received;
  expect(second?.headers["webhook-id"]).toBe(first?.headers["webhook-id"]);
  expect(second?.body).toBe(first?.body);
  expect(verify(SECRET, second!)).toMatchObject({ id: "c1.abc" });
});

test("a batch is one signed list, and its id depends on its messages alone", async () => {
  const { received, url } = await startReceiver();
  const target = await webhookTo(url, { batch: 10 });
  expect(target.batchSize).toBe(10);
  const messages = sinkMessages(3);
  expect(await target.send(messages, forever())).toEqual([ACCEPTED, ACCEPTED, ACCEPTED]);
  await target.send(messages, forever());
  await target.send(messages.slice(1), forever());
  expect(received[0]?.headers["content-type"]).toBe("application/cloudevents-batch+json");
  expect(verify(SECRET, received[0]!)).toEqual(messages.map(({ event }) => event));
  const [first, second, third] = received.map(({ headers }) => headers["webhook-id"]);
  expect(second).toBe(first);
  expect(third).not.toBe(first);
});

test("of a refused batch, only the message that the receiver does not take is refused", async () => {
  const { received, url } = await startReceiver((response, { body }) => {
    response.writeHead(body.includes('"m1"') ? 422 : 200).end("no m1, please");
  });
  const target = await webhookTo(url, { batch: 10 });
  const results = await target.send(sinkMessages(3), forever());
  expect(results).toEqual([
    ACCEPTED,
    { kind: "refused", reason: "the receiver answered 422", excerpt: "no m1, please" },
    ACCEPTED,
  ]);
  expect(received).toHaveLength(4);
});

test("a redirect is a failure, and 410 ends the sink", async () => {
  const { received, url } = await startReceiver((response) => {
    response.writeHead(received.length > 1 ? 410 : 307, { location: "/hook" }).end();
  });
  const target = await webhookTo(url);
  const [redirected] = await target.send([sinkMessage("a")], forever());
  expect(redirected).toEqual({ kind: "unavailable", reason: "the receiver answered 307" });
  const [gone] = await target.send([sinkMessage("a")], forever());
  expect(gone).toEqual({ kind: "gone", reason: "the receiver answered 410" });
  expect(received).toHaveLength(2);
});

test("a receiver that asks for a pause is unavailable for that time, and no reason repeats a secret", async () => {
  const { url } = await startReceiver((response, { headers }) => {
    response.writeHead(429, { "retry-after": "30" }).end(`slow down, ${headers.authorization}`);
  });
  const target = await webhookTo(url, { headers: { authorization: "Bearer abc" } });
  expect(await target.send([sinkMessage("a")], forever())).toEqual([
    {
      kind: "unavailable",
      reason: "the receiver answered 429",
      excerpt: "slow down, …",
      retryAfterMs: 30_000,
    },
  ]);
});

test("a receiver that does not answer in time is unavailable", async () => {
  const { url } = await startReceiver(() => {});
  const target = await webhookTo(url, { timeoutMs: 1_000 });
  expect(await target.send([sinkMessage("a")], forever())).toEqual([
    { kind: "unavailable", reason: "no complete answer within 1000 ms" },
  ]);
});

test("sending ends with its signal", async () => {
  const abort = new AbortController();
  const { url } = await startReceiver(() => abort.abort());
  const target = await webhookTo(url);
  expect(await target.send([sinkMessage("a")], abort.signal)).toEqual([
    { kind: "unavailable", reason: "the request was cancelled" },
  ]);
});

test("a receiver at a private address is unavailable unless the option allows it, and gets nothing", async () => {
  const { received, url } = await startReceiver();
  const target = await webhookTo(url.replace("http:", "https:"), { allowPrivate: false });
  expect(await target.send([sinkMessage("a")], forever())).toEqual([
    {
      kind: "unavailable",
      reason: expect.stringMatching(/^127\.0\.0\.1 is not a public address.*set allowPrivate: true/),
    },
  ]);
  expect(received).toEqual([]);
});
