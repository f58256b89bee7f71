/** A follower of a sink's live query: which messages of the service belong to a difference, and how it waits for the stream. */
import { getEventListeners } from "node:events";
import { pino } from "pino";
import { expect, onTestFinished, test, vi } from "vitest";
import { Advances } from "../../../src/feed/advances.ts";
import type { GatewayContext } from "../../../src/gateway/context.ts";
import type { Gateway } from "../../../src/gateway/gateway.ts";
import type { Start } from "../../../src/protocol/messages.ts";
import { SinkOptions } from "../../../src/sinks/options.ts";
import { followSink, type SinkFollowerParts } from "../../../src/sinks/sink-follower.ts";
import type { SinkTransport } from "../../../src/sinks/sink-transport.ts";
import { untilPasses } from "../../support/until-passes.ts";

const OPTIONS = {
  collection: "orders",
  as: { sub: "ada" },
  to: {
    webhook: { url: "https://receiver.example/", secret: `whsec_${Buffer.alloc(32, 7).toString("base64")}` },
  },
};

/**
 * Lets a follower with the position `c0` read an answer and a watermark.
 * @returns What it does then, in order.
 */
async function readAnswer(
  answer: { readonly start: Start; readonly cursor: string },
  { snapshot, hasWaiting }: { readonly snapshot: boolean; readonly hasWaiting: boolean },
): Promise<string[]> {
  const done: string[] = [];
  const end = new AbortController();
  onTestFinished(() => end.abort());
  const openInside = (transport: SinkTransport) => {
    transport.send({ type: "subscribed", id: "sink", query: 1, ticket: "t1", ...answer });
    transport.send({ type: "watermark", cursor: "c9" });
    return {
      connection: { terminate: () => transport.close() },
      inbox: { authenticateByRequest: async () => {}, receive: () => {} },
    };
  };
  const following = followSink(
    {
      name: "late",
      options: SinkOptions.parse({ ...OPTIONS, snapshot }),
      gateway: { openInside } as unknown as Pick<Gateway, "openInside">,
      context: { server: {}, feed: { timeline: { isReady: true } } } as unknown as GatewayContext,
      run: {
        position: { cursor: "c0", ticket: "t0" },
        hasWaiting,
        take: async () => {},
        note: ({ cursor, ticket }) => void done.push(`${cursor} ${ticket}`),
        allow: () => {},
        beginDifference: () => void done.push("begin"),
        endDifference: async () => void done.push("end"),
      },
      rows: null,
      onReset: (reason) => void done.push(reason),
      onTrouble: () => {},
      log: pino({ level: "silent" }),
    },
    end.signal,
  );
  await expect.poll(() => done).toContain("c9 t1");
  end.abort();
  await following;
  return done;
}

test("takes the cursor that it has asked for as its position, because changes follow", async () => {
  const answer = { start: "resumed", cursor: "c0" } as const;
  expect(await readAnswer(answer, { snapshot: true, hasWaiting: true })).toEqual(["end", "c0 t1", "c9 t1"]);
});

test.for([
  { start: "resumed", cursor: "before" },
  { start: "moved", cursor: "before" },
] as const)("takes no position inside a difference: $start with another cursor", async (answer) => {
  expect(await readAnswer(answer, { snapshot: true, hasWaiting: true })).toEqual(["begin", "end", "c9 t1"]);
  expect(await readAnswer(answer, { snapshot: false, hasWaiting: false })).toEqual(["begin", "end", "c9 t1"]);
});

test("gives up the messages that wait if no difference names them all", async () => {
  const answer = { start: "resumed", cursor: "before" } as const;
  const done = await readAnswer(answer, { snapshot: false, hasWaiting: true });
  expect(done.slice(0, 1)).toEqual(["rights-changed"]);
});

test("keeps one listener however often the stream advances before it is ready", async () => {
  const advances = new Advances();
  const asked = vi.spyOn(advances, "next");
  const end = new AbortController();
  const following = followSink(
    { context: { feed: { timeline: { isReady: false, advances } } } } as unknown as SinkFollowerParts,
    end.signal,
  );
  for (let advance = 1; advance <= 20; advance++) {
    await untilPasses(() => expect(asked).toHaveBeenCalledTimes(advance), { interval: 1 });
    expect(getEventListeners(end.signal, "abort").length).toBe(1);
    advances.announce();
  }
  end.abort();
  await following;
});
