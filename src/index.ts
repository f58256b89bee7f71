/**
 * Tidewire as a library: a node inside a process of your own. The command line does no more than this, but for
 * `server.workers`, which is for it alone.
 */
export { type Config, ConfigError, loadConfig, parseConfig } from "./config/config.ts";
export { type Service, startService } from "./server.ts";
export { StartupError } from "./source/startup-error.ts";
