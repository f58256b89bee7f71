/** The example of the driver's manual: a `collection.watch()` for each client, with its filter on the server. */
import { serve } from "../lib/serve.mjs";
import { changeText, client, listen, now, SUBSCRIBED, watch } from "./common.mjs";

const port = await listen(async (socket, { filter }) => {
  const match = Object.fromEntries(
    Object.entries(filter).map(([path, value]) => [`fullDocument.${path}`, value]),
  );
  watch((document) => socket.send(changeText(document)), await now(), [{ $match: match }]);
  socket.send(SUBSCRIBED);
});

await client.connect();
serve({ ready: () => ({ port }) });
