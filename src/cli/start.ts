import { pino } from "pino";
import { loadConfig } from "../config/config.ts";
import { watchConfig } from "../config/watch-config.ts";
import { startService } from "../server.ts";

/** Runs a node until it is told to stop: SIGTERM and SIGINT hand its clients over, a second one ends it at once. */
export async function runStart(configPath: string, env: NodeJS.ProcessEnv): Promise<void> {
  const config = await loadConfig(configPath, env);
  const log = pino(config.log);
  const service = await startService(config, log);
  const edits = watchConfig(configPath, env, {
    onEdit: (edited) => service.reload(edited),
    onRefused: (error) => {
      service.noteRejectedReload();
      log.error({ err: error }, "the edited configuration was refused; the rules in force stay");
    },
  });
  log.info({ ...service.address, adminPort: service.adminAddress.port, node: service.node }, "listening");
  process.on("SIGHUP", edits.now);
  await new Promise<void>((resolve) => {
    const stop = (signal: NodeJS.Signals) => {
      process.once("SIGTERM", () => process.exit(1)).once("SIGINT", () => process.exit(1));
      log.info({ signal }, "handing the clients over");
      edits.stop();
      service.drain().then(resolve, (error: unknown) => {
        log.error({ err: error }, "the node could not stop in good order");
        process.exit(1);
      });
    };
    process.once("SIGTERM", stop).once("SIGINT", stop);
  });
}
