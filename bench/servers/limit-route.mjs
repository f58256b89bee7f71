/** The least that a service can do: one stream, a Map from the room to its followers, one send for each. No rules. */
import { serve } from "../lib/serve.mjs";
import { changeText, client, listen, now, SUBSCRIBED, watch } from "./common.mjs";

const byRoom = new Map();

const port = await listen((socket, { filter }) => {
  const followers = byRoom.get(filter.room);
  if (followers === undefined) byRoom.set(filter.room, [socket]);
  else followers.push(socket);
  socket.send(SUBSCRIBED);
});

await client.connect();
watch(
  (document) => {
    const followers = byRoom.get(document.room);
    if (followers === undefined) return;
    const text = changeText(document);
    for (const socket of followers) socket.send(text);
  },
  await now(),
);

serve({ ready: () => ({ port }) });
