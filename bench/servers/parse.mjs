/** Parse Server with LiveQuery. Writes go through it: it does not look at change streams. */
import { createServer } from "node:http";
import { ParseServer } from "parse-server";
import { options, serve } from "../lib/serve.mjs";

const server = createServer((request, response) => parse.app(request, response));
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const { port } = server.address();
const url = `http://127.0.0.1:${port}`;

const parse = new ParseServer({
  databaseURI: options.uri.replace("/?", `/${options.database}-parse?`),
  appId: "bench",
  masterKey: "bench-master-key",
  serverURL: `${url}/`,
  liveQuery: { classNames: ["Doc"] },
  allowClientClassCreation: true,
  silent: true,
  logLevel: "error",
  logsFolder: null,
});
await parse.start();
await ParseServer.createLiveQueryServer(server);

serve({ ready: () => ({ port, url }) });
