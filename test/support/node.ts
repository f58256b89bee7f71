/** A node in this process on any deployment, so that a test may have several, and break what they stand on. */
import { type Logger, pino } from "pino";
import { onTestFinished } from "vitest";
import { type Service, startService } from "../../src/server.ts";
import { type TestServiceOptions, testConfig, toConfig } from "./service.ts";

export interface TestNode {
  readonly service: Service;
  readonly url: string;
}

/** Starts a node that works on `database`; it ends with the test, or before with `service.stop`. */
export async function startNode(
  uri: string,
  database: string,
  options: TestServiceOptions,
  log: Logger = pino({ level: process.env["TIDEWIRE_TEST_LOG"] ?? "silent" }),
): Promise<TestNode> {
  const service = await startService(toConfig(testConfig(uri, database, options)), log);
  onTestFinished(() => service.stop());
  while (!service.readiness().ready) await new Promise((resolve) => setTimeout(resolve, 5));
  return { service, url: `ws://127.0.0.1:${service.address.port}/v1/ws` };
}

/** A log that can be read. */
export function recordingLog(): {
  readonly log: Logger;
  readonly errors: () => string[];
  readonly warnings: () => string[];
} {
  const lines: { level: number; msg: string }[] = [];
  const log = pino({ level: "info" }, { write: (line) => lines.push(JSON.parse(line)) });
  const { error = 50, warn = 40 } = pino.levels.values;
  const from = (least: number) => () => lines.filter(({ level }) => level >= least).map(({ msg }) => msg);
  return { log, errors: from(error), warnings: from(warn) };
}
