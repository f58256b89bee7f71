import { Socket } from "node:net";
import { expect, test } from "vitest";
import { BoundedHttpAgent, BoundedHttpsAgent } from "../../../src/outbound/bounded-agents.ts";

test.each([
  ["without TLS", () => new BoundedHttpAgent()],
  ["with TLS", () => new BoundedHttpsAgent()],
])("an agent %s keeps at most 64 idle connections to all origins together", (_title, make) => {
  const agent = make();
  const free = agent.freeSockets as Record<string, Socket[]>;
  const idle = (count: number) => Array.from({ length: count }, () => new Socket());
  free["a:443"] = idle(40);
  free["b:443"] = idle(23);
  expect(agent.keepSocketAlive(new Socket())).toBe(true);
  free["c:443"] = idle(1);
  expect(agent.keepSocketAlive(new Socket())).toBe(false);
});
