/** The physical limit: `ws` sends a ready text from memory to everyone, with `ws.send` or as one frame of the same bytes. */
import { setTimeout as sleep } from "node:timers/promises";
import { proseOf } from "../lib/documents.mjs";
import { clockMs, options, serve } from "../lib/serve.mjs";
import { changeText, listen, SUBSCRIBED } from "./common.mjs";

const sockets = new Set();
/** `proseBytes`: the length of the texts, which are of words then. */
const { proseBytes, isCompressed = false } = options;
/** As bytes: a text would be encoded again for each. */
const frameOf = (text) => Buffer.from(changeText({ _id: "0".repeat(24), n: 1_000_000, room: 1_000, text }));
/** More text than a compressor remembers (32 KiB), so that none is a repetition for it. */
const PROSE_BYTES = 100_000;
const frames =
  proseBytes === undefined
    ? [frameOf("x".repeat(240))]
    : Array.from({ length: Math.ceil(PROSE_BYTES / proseBytes) }, () => frameOf(proseOf(proseBytes)));
let onResume = frames[0];
/** How many texts were sent to everyone. The next burst continues with the texts that follow. */
let sent = 0;

const port = await listen((socket, { isBack }) => {
  sockets.add(socket);
  socket.once("close", () => sockets.delete(socket));
  // The client takes every compressed message for a change.
  socket.send(SUBSCRIBED, { compress: false });
  if (isBack) socket.send(onResume, { binary: false });
}, isCompressed);

serve({
  ready: () => ({ port }),

  /** Sends so many texts to everyone, at once or so many a second. */
  async broadcast({ count, perSecond }) {
    const start = clockMs();
    for (let i = 0; i < count; i++) {
      if (perSecond !== undefined) {
        const wait = start + (i * 1_000) / perSecond - clockMs();
        if (wait > 0) await sleep(wait);
      } else if (i % 10 === 9) await new Promise(setImmediate);
      const frame = frames[sent++ % frames.length];
      for (const socket of sockets) socket.send(frame, { binary: false });
    }
  },

  /** The answer to a returning client: the bytes of the missed changes in one message, which is the cheapest way. */
  prepareResume({ changes }) {
    onResume = Buffer.concat(Array.from({ length: changes }, () => frames[0]));
  },
});
