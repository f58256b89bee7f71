import { expect, test } from "vitest";
import { Chunk } from "../../../../src/feed/chunk.ts";
import type { Call } from "../../../../src/gateway/grpc/call.ts";
import { FollowTransport } from "../../../../src/gateway/grpc/follow-transport.ts";

/** All of a call that a stream looks at. */
const CALL = { bufferedBytes: 0, takenBytes: 0, flushed: async () => {} } as unknown as Call;

test("a message that many streams send is taken apart once for all of them", async () => {
  const doc = { _id: 1, pad: "x".repeat(1_000) };
  const message = { type: "added", query: 1, cause: "insert", doc, cursor: "c" };
  const chunk = new Chunk([{ type: "added", text: JSON.stringify(message), cursor: "c" }]);
  const responses = [1, 2].map(async () => {
    const stream = new FollowTransport(CALL, true);
    stream.write(chunk);
    return (await stream[Symbol.asyncIterator]().next()).value;
  });
  const [one, two] = await Promise.all(responses);
  expect(one?.message).toMatchObject({ case: "added", value: { document: JSON.stringify(doc) } });
  expect(two).toBe(one);
});
