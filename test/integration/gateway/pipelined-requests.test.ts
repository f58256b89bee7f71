/** Requests that a client sends on one socket without waiting for the answers before them (HTTP/1.1 pipelining). */
import { connect } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { signToken, startTestService } from "../../support/service.ts";

const COLLECTIONS = { notes: { rules: [{ name: "all", when: {}, filter: {} }] } };

const PATHS = [
  ["a stream", "/v1/sse?collection=notes"],
  ["a poll", "/v1/poll?collection=notes&wait=60"],
] as const;

test.each(PATHS)(
  "forgets %s that waits behind another answer when its socket closes",
  async (_what, path) => {
    const { service } = await startTestService({ collections: COLLECTIONS });
    const token = await signToken({ sub: "u" });
    const socket = connect(service.address.port, "127.0.0.1");
    onTestFinished(() => void socket.destroy());
    const ask = (url: string) => `GET ${url} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n\r\n`;
    socket.write(ask("/v1/sse?collection=notes") + ask(path) + ask(path));
    const { connections, subscriptions } = service.metrics;
    const count = async (gauge: typeof connections) => (await gauge.get()).values[0]?.value;
    await expect.poll(() => count(subscriptions)).toBe(3);
    socket.destroy();
    await expect.poll(() => count(connections), { timeout: 10_000 }).toBe(0);
  },
);
