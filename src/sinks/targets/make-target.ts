import type { GuardParts } from "../../metrics/guard.ts";
import { safeRequest } from "../../outbound/safe-request.ts";
import type { Target } from "../target.ts";
import { AmqpTarget } from "./amqp-target.ts";
import { KafkaTarget } from "./kafka-target.ts";
import type { TargetOptions } from "./options.ts";
import { RedisTarget } from "./redis-target.ts";
import { WebhookTarget } from "./webhook-target.ts";

/** The parts that a target works with. */
export interface TargetParts extends GuardParts {
  /** The name of the sink. */
  readonly sink: string;
}

/**
 * Makes the target of a sink. It connects with the first message.
 * @throws {StartupError} The package that it needs is not installed.
 */
export async function makeTarget(options: TargetOptions, parts: TargetParts): Promise<Target> {
  const { sink } = parts;
  const option = `sinks.${sink}.to`;
  if (options.webhook !== undefined) return new WebhookTarget(options.webhook, safeRequest);
  if (options.kafka !== undefined) return KafkaTarget.load(options.kafka, `${option}.kafka`);
  if (options.amqp !== undefined)
    return AmqpTarget.load(options.amqp, `${option}.amqp`, `tidewire ${sink}`, parts);
  if (options.redis !== undefined) return RedisTarget.load(options.redis, `${option}.redis`);
  throw new Error("the schema permits exactly one target");
}
