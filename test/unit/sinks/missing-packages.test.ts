/** Targets on a machine where the optional package of the target is not installed. */
import { expect, test, vi } from "vitest";
import { StartupError } from "../../../src/source/startup-error.ts";

vi.mock("@platformatic/kafka", notFound);
vi.mock("amqplib", notFound);
vi.mock("@redis/client", notFound);

function notFound(): never {
  throw Object.assign(new Error("Cannot find package"), { code: "ERR_MODULE_NOT_FOUND" });
}

const kafka = { brokers: ["127.0.0.1:1"], topic: "orders" };
const amqp = { url: "amqp://127.0.0.1:1", exchange: "orders" };
const redis = { url: "redis://127.0.0.1:1", stream: "orders" };

test.each([
  ["kafka", { kafka }, "npm install @platformatic/kafka@1"],
  ["amqp", { amqp }, "npm install amqplib@2"],
  ["redis", { redis }, "npm install @redis/client@6"],
])("a sink with the target %s says what to install", async (name, to, command) => {
  const { targetOf } = await import("../../support/sink-messages.ts");
  const made = targetOf(to);
  await expect(made).rejects.toBeInstanceOf(StartupError);
  const option = `sinks.late-orders.to.${name}`;
  await expect(made).rejects.toThrow(
    `${option} needs a package that is not installed: ${command}, or remove ${option}`,
  );
});
