import { expect, test } from "vitest";
import { Outbox } from "../../../src/gateway/outbox.ts";
import type { Transport } from "../../../src/gateway/transport.ts";

/** Full, and of no use any more, but nobody has been told of its end yet: as a socket is that was just reset. */
const dying: Transport = {
  kind: "ws",
  bufferedBytes: 1_000,
  pendingBytes: 1_000,
  write: () => {},
  send: () => {},
  flushed: () => Promise.resolve(),
  ping: () => true,
  pong: () => {},
  pause: () => {},
  resume: () => {},
  close: () => {},
  terminate: () => {},
};

test("whoever waits for room on a transport that is just ending leaves the others their turn", async () => {
  const outbox = new Outbox(dying, 1_000);
  const room = outbox.room(1);
  setImmediate(() => outbox.end());
  expect(await room).toBe(false);
});
