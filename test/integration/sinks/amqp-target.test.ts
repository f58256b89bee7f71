/** Messages to a real RabbitMQ, which is frozen, killed and started again. */
import { type ChannelModel, connect } from "amqplib";
import { expect, onTestFinished, test } from "vitest";
import { RabbitMq } from "../../support/rabbitmq.ts";
import { ACCEPTED, forever, sinkMessage, sinkMessages, targetOf } from "../../support/sink-messages.ts";

const QUEUE = "late-orders";

async function open({ url }: RabbitMq): Promise<ChannelModel> {
  const connection = await connect(url);
  connection.on("error", () => {}); // the broker is killed
  return connection;
}

/** An exchange with a durable queue, as an admin prepares them. */
async function prepare(rabbit: RabbitMq, queueOptions: object = {}): Promise<void> {
  const connection = await open(rabbit);
  const channel = await connection.createChannel();
  await channel.assertExchange("orders", "topic", { durable: true });
  await channel.assertQueue(QUEUE, { durable: true, ...queueOptions });
  await channel.bindQueue(QUEUE, "orders", "late.#");
  await connection.close();
}

/** Takes everything out of the queue. */
async function drain(rabbit: RabbitMq) {
  const connection = await open(rabbit);
  const channel = await connection.createChannel();
  const taken = [];
  for (let message = await channel.get(QUEUE, { noAck: true }); message !== false; ) {
    taken.push({ event: JSON.parse(message.content.toString()), properties: message.properties });
    message = await channel.get(QUEUE, { noAck: true });
  }
  await connection.close();
  return taken;
}

const idsIn = async (rabbit: RabbitMq) => (await drain(rabbit)).map(({ event }) => event.id);

const targetAt = (rabbit: RabbitMq, change: object = {}) =>
  targetOf({
    amqp: { url: rabbit.url, exchange: "orders", routingKey: "late.de", timeoutMs: 5_000, ...change },
  });

test("publishes to RabbitMQ, survives its death, and says why a message is not taken", async ({ skip }) => {
  const rabbit = await RabbitMq.start(skip, ["max_message_size = 100000"]);
  await prepare(rabbit);
  const target = await targetAt(rabbit);
  expect(target.batchSize).toBe(100);

  // A batch arrives in order, persistent, as CloudEvents in structured mode.
  const messages = sinkMessages(50);
  expect(await target.send(messages, forever())).toEqual(messages.map(() => ACCEPTED));
  const arrived = await drain(rabbit);
  expect(arrived.map(({ event }) => event)).toEqual(messages.map(({ event }) => event));
  expect(arrived[0]?.properties).toMatchObject({
    messageId: "m0",
    contentType: "application/cloudevents+json",
    type: "tidewire.orders.added",
    deliveryMode: 2,
  });

  // One message that is too large does not stop the others, and the channel opens again.
  const large = sinkMessage("large", '"large"', "x".repeat(150_000));
  const [first, second, third] = await target.send([sinkMessage("a"), large, sinkMessage("b")], forever());
  expect([first, third]).toEqual([ACCEPTED, ACCEPTED]);
  expect(second).toMatchObject({
    kind: "refused",
    reason: expect.stringMatching(/^RabbitMQ: .*size.* 150\d\d\d bytes: raise max_message_size/),
  });
  expect([...new Set(await idsIn(rabbit))]).toEqual(["a", "b"]);

  // A routing key without a queue, and an exchange that does not exist.
  const nowhere = await targetAt(rabbit, { routingKey: "early" });
  expect(await nowhere.send([sinkMessage("a")], forever())).toEqual([
    {
      kind: "unavailable",
      reason:
        'RabbitMQ: no queue of exchange "orders" takes the routing key "early". Bind a queue to the exchange with this routing key, or set mandatory: false to drop such messages',
    },
  ]);
  const optional = await targetAt(rabbit, { routingKey: "early", mandatory: false });
  expect(await optional.send([sinkMessage("a")], forever())).toEqual([ACCEPTED]);
  const missing = await targetAt(rabbit, { exchange: "missing" });
  expect(await missing.send([sinkMessage("a")], forever())).toMatchObject([
    { kind: "unavailable", reason: expect.stringMatching(/NOT_FOUND.* Declare the exchange "missing"/) },
  ]);
  const stranger = await targetAt(rabbit, { url: rabbit.url.replace("guest:guest", "guest:wr0ng-secret") });
  const [refused] = await stranger.send([sinkMessage("a")], forever());
  expect(refused).toMatchObject({
    kind: "unavailable",
    reason: expect.stringMatching(/ACCESS_REFUSED.* Look at user, password and vhost/),
  });
  expect(JSON.stringify(refused)).not.toContain("wr0ng-secret");

  // Killed and started again between messages.
  const accepted: string[] = [];
  let unavailable = 0;
  for (let n = 0; n < 60; n++) {
    const message = sinkMessage(`k${n}`);
    if (n === 30) await rabbit.stop();
    for (;;) {
      const [result] = await target.send([message], forever());
      if (result?.kind === "accepted") break;
      expect(result?.kind).toBe("unavailable");
      if (++unavailable === 3) await rabbit.start();
    }
    accepted.push(message.id);
  }
  expect(unavailable).toBeGreaterThanOrEqual(3);
  const survived = await idsIn(rabbit);
  expect([...new Set(survived)]).toEqual(accepted);
  expect(survived.length - accepted.length).toBeLessThanOrEqual(1);

  // A broker that hangs is given up after the timeout, and a signal ends the wait at once.
  const hasty = await targetAt(rabbit, { timeoutMs: 1_000 });
  expect(await hasty.send([sinkMessage("h0")], forever())).toEqual([ACCEPTED]);
  rabbit.signal("SIGSTOP");
  onTestFinished(() => rabbit.signal("SIGCONT"));
  const unanswered = [
    { kind: "unavailable", reason: expect.stringMatching(/^RabbitMQ: no answer within 1000 ms\. Look/) },
  ];
  // The system may stop the process a little later.
  await expect.poll(() => hasty.send([sinkMessage("h1")], forever())).toEqual(unanswered);
  expect(await hasty.send([sinkMessage("h1")], forever())).toEqual(unanswered);
  const abort = new AbortController();
  const sending = target.send([sinkMessage("h2")], abort.signal);
  abort.abort();
  expect(await sending).toEqual([{ kind: "unavailable", reason: "RabbitMQ: the sink is stopping" }]);
  rabbit.signal("SIGCONT");
  await expect.poll(() => hasty.send([sinkMessage("h3")], forever())).toEqual([ACCEPTED]);
});

test("a full queue that refuses messages makes the target unavailable", async ({ skip }) => {
  const rabbit = await RabbitMq.start(skip);
  await prepare(rabbit, { maxLength: 1, arguments: { "x-overflow": "reject-publish" } });
  const target = await targetAt(rabbit);
  expect(await target.send([sinkMessage("a")], forever())).toEqual([ACCEPTED]);
  await expect
    .poll(() => target.send([sinkMessage("b")], forever()))
    .toMatchObject([
      { kind: "unavailable", reason: expect.stringMatching(/^RabbitMQ: message nacked\. A queue is full/) },
    ]);
  await drain(rabbit);
  await expect.poll(() => target.send([sinkMessage("c")], forever())).toEqual([ACCEPTED]);
});
