/**
 * The demo's service, a process of its own: a node like any other, which also serves the page that shows it.
 *   node demo-service.js CONFIG RATE [options of tidewire start]
 */

import { PageServer } from "../demo/page-server.ts";
import { runCommand } from "./run-cli.ts";
import { startWith } from "./start.ts";

const [, , configFile = "", rate = "", ...args] = process.argv;
const { env } = process;

const page = await PageServer.open({
  configFile,
  env,
  mongodbUri: env["MONGODB_URI"] ?? "",
  secret: env["TIDEWIRE_JWT_SECRET"] ?? "",
  adminToken: env["TIDEWIRE_DEMO_ADMIN_TOKEN"] ?? "",
  rate: Number(rate),
  // The backend is the demo's, not ours.
  onRate: (wanted) => process.send?.({ rate: wanted }),
  onKill: () => process.kill(process.pid, "SIGKILL"),
});

const host = { extraRoutes: page.answer, onAdminPort: page.setAdminPort };
process.exitCode = await runCommand("start", startWith(host), ["--config", configFile, ...args], {
  out: (text) => process.stdout.write(`${text}\n`),
  err: (text) => process.stderr.write(`${text}\n`),
  env,
  now: () => Date.now(),
});
await page.close();
