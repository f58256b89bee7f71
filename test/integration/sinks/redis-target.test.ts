/** Messages to a real Redis, which is frozen, killed and started again. */
import { expect, type TestContext, test } from "vitest";
import { Redis } from "../../support/redis.ts";
import { ACCEPTED, forever, sinkMessage, sinkMessages, targetOf } from "../../support/sink-messages.ts";

const DURABLE = ["--appendonly", "yes", "--appendfsync", "always"];

async function start(skip: TestContext["skip"], change: object = {}, args: readonly string[] = []) {
  const redis = await Redis.start(skip, args);
  const options = { url: redis.url, stream: "orders", timeoutMs: 2_000, ...change };
  const target = await targetOf({ redis: options });
  return { redis, target };
}

/** The entries of the stream as objects. */
async function entriesOf(redis: Redis): Promise<Record<string, string>[]> {
  const entries = (await redis.ask("XRANGE", "orders", "-", "+")) as [string, string[]][];
  return entries.map(([, fields]) =>
    Object.fromEntries(
      Array.from({ length: fields.length / 2 }, (_, at) => [fields[2 * at] ?? "", fields[2 * at + 1] ?? ""]),
    ),
  );
}

const idsOf = async (redis: Redis) => (await entriesOf(redis)).map(({ id }) => id);

test("a batch becomes entries with id, key and CloudEvent, in order", async ({ skip }) => {
  const { redis, target } = await start(skip);
  expect(target.batchSize).toBe(100);
  const messages = [
    sinkMessage("a1", '"a"', { name: "Zoë" }),
    sinkMessage("b1", '"b"'),
    sinkMessage("a2", '"a"'),
  ];
  expect(await target.send(messages, forever())).toEqual([ACCEPTED, ACCEPTED, ACCEPTED]);
  const entries = await entriesOf(redis);
  expect(entries.map(({ id, key, event }) => ({ id, key, event: JSON.parse(event ?? "") }))).toEqual(
    messages,
  );
});

test("concurrent batches are not mixed", async ({ skip }) => {
  const { redis, target } = await start(skip);
  const batches = Array.from({ length: 10 }, (_, n) => sinkMessages(20, `b${n}-`));
  await Promise.all(batches.map((batch) => target.send(batch, forever())));
  const ids = await idsOf(redis);
  expect(ids).toHaveLength(200);
  for (const batch of batches) {
    const first = ids.indexOf(batch[0]?.id);
    expect(ids.slice(first, first + 20)).toEqual(batch.map(({ id }) => id));
  }
});

test("the stream is trimmed to about its maximal length", async ({ skip }) => {
  const { redis, target } = await start(skip, { maxLength: 100 });
  for (let round = 0; round < 10; round++) await target.send(sinkMessages(100, `r${round}-`), forever());
  const length = Number(await redis.ask("XLEN", "orders"));
  expect(length).toBeGreaterThanOrEqual(100);
  expect(length).toBeLessThan(400);
  expect((await idsOf(redis)).at(-1)).toBe("r9-99");
});

test("while Redis is killed its target is unavailable, and nothing that was accepted is lost", async ({
  skip,
}) => {
  const { redis, target } = await start(skip, {}, DURABLE);
  const accepted: string[] = [];
  let unavailable = 0;
  let isDown = false;
  for (let n = 0; n < 60; n++) {
    const message = sinkMessage(`m${n}`);
    if (n === 20) {
      await redis.stop();
      isDown = true;
    }
    let [result] = await target.send([message], forever());
    while (result?.kind !== "accepted") {
      expect(result?.kind).toBe("unavailable");
      unavailable++;
      if (isDown && unavailable > 2) {
        await redis.start();
        isDown = false;
      }
      [result] = await target.send([message], forever());
    }
    accepted.push(message.id);
  }
  expect(unavailable).toBeGreaterThan(2);
  const ids = await idsOf(redis);
  expect([...new Set(ids)]).toEqual(accepted);
  expect(ids.length - accepted.length).toBeLessThanOrEqual(1);
});

test("a Redis that hangs is unavailable after the timeout, and serves again afterwards", async ({ skip }) => {
  const { redis, target } = await start(skip, { timeoutMs: 1_000 });
  expect(await target.send([sinkMessage("a")], forever())).toEqual([ACCEPTED]);
  redis.signal("SIGSTOP");
  const unanswered = [
    {
      kind: "unavailable",
      reason: expect.stringMatching(/^Redis: Redis did not answer within 1000 ms\. Look/),
    },
  ];
  // The system may stop the process a little later.
  await expect.poll(() => target.send([sinkMessage("b")], forever())).toEqual(unanswered);
  expect(await target.send([sinkMessage("b")], forever())).toEqual(unanswered);
  redis.signal("SIGCONT");
  await expect.poll(() => target.send([sinkMessage("c")], forever())).toEqual([ACCEPTED]);
});

test("sending ends with its signal while Redis hangs", async ({ skip }) => {
  const { redis, target } = await start(skip, { timeoutMs: 60_000 });
  expect(await target.send([sinkMessage("a")], forever())).toEqual([ACCEPTED]);
  redis.signal("SIGSTOP");
  const abort = new AbortController();
  const sending = target.send([sinkMessage("b")], abort.signal);
  abort.abort();
  expect(await sending).toMatchObject([{ kind: "unavailable" }]);
});

test.for<[string, readonly string[], string]>([
  ["has no memory left", ["CONFIG", "SET", "maxmemory", "1"], "OOM"],
  ["has another type under the key", ["SET", "orders", "text"], "WRONGTYPE"],
  ["is a replica", ["REPLICAOF", "127.0.0.1", "1"], "READONLY"],
])("a Redis that %s is unavailable, and adds nothing", async ([_title, command, code], { skip }) => {
  const { redis, target } = await start(skip);
  await redis.ask(...command);
  const results = await target.send(sinkMessages(2), forever());
  expect(results).toEqual(Array(2).fill({ kind: "unavailable", reason: expect.stringContaining(code) }));
});

test("the password of a Redis is in no reason", async ({ skip }) => {
  const { redis } = await start(skip, {}, ["--requirepass", "right"]);
  const options = { url: redis.url.replace("//", "//:wr0ng-secret@"), stream: "orders" };
  const target = await targetOf({ redis: options });
  const [result] = await target.send([sinkMessage("a")], forever());
  expect(result).toMatchObject({ kind: "unavailable", reason: expect.stringContaining("WRONGPASS") });
  expect(JSON.stringify(result)).not.toContain("wr0ng-secret");
});

test("a target that is closed while it connects leaves no connection open", async ({ skip }) => {
  const { redis, target } = await start(skip);
  const connections = async () =>
    String(await redis.ask("CLIENT", "LIST"))
      .trim()
      .split("\n").length;
  const before = await connections();
  const abort = new AbortController();
  const sending = target.send(sinkMessages(1), abort.signal);
  abort.abort();
  await target.close();
  await sending;
  await expect.poll(connections).toBe(before);
});
