/** Messages to a real Kafka, which is frozen, killed and started again. */
import { Admin, Consumer, stringDeserializers } from "@platformatic/kafka";
import { expect, onTestFinished, test } from "vitest";
import { Kafka } from "../../support/kafka.ts";
import { ACCEPTED, forever, sinkMessage, targetOf } from "../../support/sink-messages.ts";

const TOPIC = "late-orders";
const PARTITIONS = 3;

async function prepare({ address }: Kafka): Promise<void> {
  const admin = new Admin({ clientId: "test", bootstrapBrokers: [address] });
  await admin.createTopics({ topics: [TOPIC], partitions: PARTITIONS, replicas: 1 });
  await admin.close();
}

/** The topic from its beginning up to the message `last`. */
async function read({ address }: Kafka, last: string) {
  const consumer = new Consumer({
    clientId: "test",
    groupId: `until-${last}`,
    bootstrapBrokers: [address],
    deserializers: stringDeserializers,
  });
  const seen = [];
  const stream = await consumer.consume({
    topics: [TOPIC],
    mode: "earliest",
    autocommit: false,
    maxWaitTime: 100,
  });
  for await (const { key, value, partition, headers } of stream) {
    const event = JSON.parse(value);
    seen.push({ key, partition, type: headers.get("content-type"), event });
    if (event.id === last) break;
  }
  await consumer.close(true);
  return seen;
}

const kafkaAt = (address: string, change: object = {}) =>
  targetOf({ kafka: { brokers: [address], topic: TOPIC, timeoutMs: 20_000, ...change } });

test("writes to Kafka, survives its death, and says why a message is not taken", async ({ skip }) => {
  const kafka = await Kafka.start(skip);
  await prepare(kafka);
  const target = await kafkaAt(kafka.address);
  expect(target.batchSize).toBe(100);

  // Messages with equal keys are in one partition, in order.
  const messages = Array.from({ length: 60 }, (_, n) => sinkMessage(`m${n}`, `"key${n % 7}"`, { n }));
  expect(await target.send(messages, forever())).toEqual(messages.map(() => ACCEPTED));
  expect(await target.send([sinkMessage("end", '"key0"')], forever())).toEqual([ACCEPTED]);
  const seen = await read(kafka, "end");
  const ofKey = (key: string) => seen.filter((one) => one.key === key && one.event.id !== "end");
  expect(new Set(seen.map(({ partition }) => partition)).size).toBeGreaterThan(1);
  expect(ofKey('"key0"').map(({ event }) => event)).toEqual(
    messages.filter(({ key }) => key === '"key0"').map(({ event }) => event),
  );
  expect(new Set(ofKey('"key0"').map(({ partition }) => partition)).size).toBe(1);
  expect(seen[0]?.type).toBe("application/cloudevents+json");

  // Batches at the same time keep their numbers apart: none is dropped as a repetition.
  const batches = Array.from({ length: 8 }, (_, n) =>
    Array.from({ length: 5 }, (_item, at) => sinkMessage(`b${n}-${at}`, '"same"')),
  );
  await Promise.all(batches.map((batch) => target.send(batch, forever())));
  await target.send([sinkMessage("end2", '"same"')], forever());
  const ids = (await read(kafka, "end2")).filter(({ key }) => key === '"same"').map(({ event }) => event.id);
  expect(ids).toEqual([...batches.flat().map(({ id }) => id), "end2"]);

  // One message that is too large does not stop the others.
  const large = sinkMessage("large", '"large"', "x".repeat(300_000));
  const [first, second, third] = await target.send([sinkMessage("a"), large, sinkMessage("b")], forever());
  expect([first, third]).toEqual([ACCEPTED, ACCEPTED]);
  expect(second).toMatchObject({
    kind: "refused",
    reason: expect.stringMatching(/^Kafka: MESSAGE_TOO_LARGE: .* 300\d\d\d bytes: raise max.message.bytes/),
  });

  // A topic that does not exist, and a login.
  const nowhere = await kafkaAt(kafka.address, { topic: "missing" });
  expect(await nowhere.send([sinkMessage("a")], forever())).toMatchObject([
    { kind: "unavailable", reason: expect.stringMatching(/^Kafka: .*Create the topic "missing"/) },
  ]);
  const sasl = { mechanism: "PLAIN", username: "ada", password: "s3cret-word" };
  const login = await kafkaAt(`127.0.0.1:${kafka.saslPort}`, { sasl });
  expect(await login.send([sinkMessage("login")], forever())).toEqual([ACCEPTED]);
  const wrong = { ...sasl, password: "wr0ng-secret" };
  const stranger = await kafkaAt(`127.0.0.1:${kafka.saslPort}`, { sasl: wrong });
  for (let attempt = 0; attempt < 3; attempt++) {
    const [refused] = await stranger.send([sinkMessage("stranger")], forever());
    expect(refused).toMatchObject({
      kind: "unavailable",
      reason: expect.stringMatching(/SASL.* Look at sasl/),
    });
    expect(JSON.stringify(refused)).not.toContain("wr0ng-secret");
  }

  // Killed and started again between messages.
  let unavailable = 0;
  for (let n = 0; n < 60; n++) {
    const message = sinkMessage(`k${n}`, '"killed"');
    if (n === 30) await kafka.stop();
    for (;;) {
      const [result] = await target.send([message], forever());
      if (result?.kind === "accepted") break;
      expect(result?.kind).toBe("unavailable");
      if (++unavailable === 2) await kafka.start();
    }
  }
  expect(unavailable).toBeGreaterThanOrEqual(2);
  const killed = (await read(kafka, "k59"))
    .filter(({ key }) => key === '"killed"')
    .map(({ event }) => event.id);
  expect([...new Set(killed)]).toEqual(Array.from({ length: 60 }, (_, n) => `k${n}`));
  expect(killed.length).toBeLessThanOrEqual(62);

  // A broker that hangs is given up after the timeout, and a signal ends the wait at once.
  const hasty = await kafkaAt(kafka.address, { timeoutMs: 2_000 });
  await expect.poll(() => hasty.send([sinkMessage("h0", '"h"')], forever())).toEqual([ACCEPTED]);
  kafka.signal("SIGSTOP");
  onTestFinished(() => kafka.signal("SIGCONT"));
  const unanswered = [
    { kind: "unavailable", reason: expect.stringMatching(/^Kafka: no answer within 2000 ms\. Look/) },
  ];
  // The system may stop the process a little later.
  await expect.poll(() => hasty.send([sinkMessage("h1", '"h"')], forever())).toEqual(unanswered);
  expect(await hasty.send([sinkMessage("h1", '"h"')], forever())).toMatchObject([{ kind: "unavailable" }]);
  const abort = new AbortController();
  const sending = target.send([sinkMessage("h2", '"h"')], abort.signal);
  abort.abort();
  expect(await sending).toEqual([{ kind: "unavailable", reason: "Kafka: the sink is stopping" }]);
  kafka.signal("SIGCONT");
  await expect.poll(() => hasty.send([sinkMessage("h3", '"h"')], forever())).toEqual([ACCEPTED]);
  // The broker has taken the unanswered ones meanwhile, and must not take the next one for one of them.
  const hung = (await read(kafka, "h3")).filter(({ key }) => key === '"h"').map(({ event }) => event.id);
  expect(hung[0]).toBe("h0");
  expect(hung.at(-1)).toBe("h3");
});

test("a Kafka that nobody runs is unavailable at once", async () => {
  const target = await kafkaAt("127.0.0.1:1");
  expect(await target.send([sinkMessage("a")], forever())).toMatchObject([
    { kind: "unavailable", reason: expect.stringMatching(/^Kafka: .*127\.0\.0\.1:1/) },
  ]);
});
