/** A change stream that is only counted: as the driver decodes it, or raw. It also reports when each change came. */
import { clockMs, options, serve } from "../lib/serve.mjs";
import { client, collection, now, watch } from "./common.mjs";

const N = Buffer.from("\x10n\0");
let count = 0;
let expected = 0;
let reached = () => {};
let seen = [];

function take(n) {
  if (options.isTimed) seen.push(n, clockMs());
  count++;
  if (count === expected) reached();
}

/** The driver's change streams have no raw mode; the aggregation that they are has. */
async function readRaw(startAtOperationTime) {
  const pipeline = [{ $changeStream: { startAtOperationTime } }];
  const cursor = collection().aggregate(pipeline, { raw: true, batchSize: 1_000 });
  for await (const bytes of cursor)
    take(options.isTimed ? bytes.readInt32LE(bytes.indexOf(N) + N.length) : 0);
}

await client.connect();
const start = await now();
if (options.isRaw) readRaw(start).catch(() => process.exit(1));
else watch((document) => take(document.n), start);

serve({
  ready: () => ({}),
  open: () => {},
  arm({ deliveries }) {
    count = 0;
    seen = [];
    expected = deliveries;
  },
  async done() {
    if (count < expected)
      await new Promise((resolve) => {
        reached = resolve;
      });
    return { received: count, lost: 0 };
  },
  seen: () => Float64Array.from(seen),
});
