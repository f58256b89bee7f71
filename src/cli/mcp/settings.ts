import type { StartedConfig } from "./started-config.ts";

/** How the server was started. An agent cannot change any of it. */
export interface McpSettings {
  readonly started: StartedConfig;
  /** The folder below which tools may read files, as an absolute path; `null`: none. */
  readonly draftFolder: string | null;
  /** The WebSocket of the service that `tail` asks. A token is sent there and nowhere else. */
  readonly serviceUrl: string;
  /** The admin listener that `plan` asks; `null`: `plan` compares files only. */
  readonly adminUrl: URL | null;
  /** The longest text, and the longest structured output, of one answer. In characters. */
  readonly outputMax: number;
  readonly env: NodeJS.ProcessEnv;
  /** Epoch milliseconds. */
  now(): number;
}
