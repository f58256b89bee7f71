/** The program of a worker: what a primary starts for each of `server.workers`. */
import { serveAsWorker } from "./cluster/serve-as-worker.ts";
import { logOptionsOf } from "./node/tracing-of.ts";
import { startNode } from "./server.ts";
import { openLog } from "./terminal/open-log.ts";

/** A worker inherits the standard output of its primary. */
const output = {
  terminal: process.stdout.isTTY === true,
  out: (text: string) => process.stdout.write(`${text}\n`),
  env: process.env,
};

serveAsWorker(
  (config, log, generation) => startNode(config, log, { generation }),
  async (config) => openLog(await logOptionsOf(config), output),
);
