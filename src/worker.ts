/** The program of a worker: what a primary starts for each of `server.workers`. */
import { serveAsWorker } from "./cluster/serve-as-worker.ts";
import { startNode } from "./server.ts";

serveAsWorker((config, log, generation) => startNode(config, log, { generation }));
