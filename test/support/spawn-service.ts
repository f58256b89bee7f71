/** The service as users run it: a process of its own, from `dist/`, to be killed, drained and started again. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { onTestFinished } from "vitest";
import { ROOT } from "./build.ts";
import { endWithUs, exited } from "./guard.ts";

const READY_WITHIN_MS = 60_000;
const START_ATTEMPTS = 20;
const START_PAUSE_MS = 250;
/** Enough to see what went wrong; a long run must not fill the memory with its log. */
const KEPT_LOG_LINES = 2_000;

/** A configuration as it stands in the file. Ports are always picked by the system. */
export interface ServiceConfig {
  readonly mongodb: Readonly<Record<string, unknown>>;
  readonly server?: Readonly<Record<string, unknown>>;
  readonly [section: string]: unknown;
}

export interface ServiceOptions {
  readonly config: ServiceConfig;
  readonly env?: Readonly<Record<string, string>>;
}

/** Where the service listens, as its log line `listening` says. */
export interface Listening {
  readonly host: string;
  readonly port: number;
  readonly adminPort: number;
  /** Only if it serves gRPC. */
  readonly grpcPort?: number;
}

/** Starts the service and answers when it listens; it ends with the test that started it. */
export async function spawnService(options: ServiceOptions): Promise<SpawnedService> {
  const directory = await mkdtemp(join(tmpdir(), "tidewire-service-"));
  const service = new SpawnedService(join(directory, "tidewire.json"), options);
  onTestFinished(async () => {
    await service.dispose();
    await rm(directory, { recursive: true, force: true });
  });
  await service.start();
  return service;
}

export class SpawnedService {
  readonly configFile: string;
  /** Standard output and error, a line each, of all starts; the oldest are forgotten. */
  readonly log: string[] = [];
  readonly #env: NodeJS.ProcessEnv;
  #config: ServiceConfig;
  #child: ChildProcess | undefined;
  #listening: Listening | undefined;

  constructor(configFile: string, { config, env }: ServiceOptions) {
    this.configFile = configFile;
    this.#config = config;
    this.#env = { ...process.env, ...env };
  }

  get listening(): Listening {
    assert(this.#listening !== undefined, "the service has not started yet");
    return this.#listening;
  }

  /** `http://127.0.0.1:PORT`, without a slash at the end. */
  get url(): string {
    return `http://${this.listening.host}:${this.listening.port}`;
  }

  get adminUrl(): string {
    return `http://${this.listening.host}:${this.listening.adminPort}`;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /**
   * Starts it, on the ports it had the last time, so that clients find it again. A client that tries to connect may
   * hold the very port for a moment, as the system gave it as its own end: then it is tried again.
   */
  async start(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#startOnce();
        return;
      } catch (error) {
        if (attempt === START_ATTEMPTS || !String(error).includes("EADDRINUSE")) throw error;
        await delay(START_PAUSE_MS);
      }
    }
  }

  async #startOnce(): Promise<void> {
    assert(this.#child === undefined, "already running");
    await this.writeConfig(this.#config);
    const main = join(ROOT, "dist", "cli", "main.js");
    const child = spawn(process.execPath, [main, "start", "--config", this.configFile], {
      cwd: ROOT,
      env: this.#env,
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    child.once("exit", () => {
      if (this.#child === child) this.#child = undefined;
    });
    endWithUs(child);
    this.#listening = await this.#ready(child);
  }

  /** Saves another configuration, as an editor would; ports are kept. */
  async writeConfig(config: ServiceConfig): Promise<void> {
    this.#config = config;
    const { port = 0, adminPort = 0 } = this.#listening ?? {};
    const admin = { ...(config.server?.["admin"] as object | undefined), port: adminPort }; // a map, if given
    const server = { ...config.server, port, admin };
    await writeFile(this.configFile, JSON.stringify({ ...config, server }, null, 2));
  }

  /** Sends a signal without waiting for what comes of it. */
  signal(signal: NodeJS.Signals): void {
    assert(this.#child !== undefined, "not running");
    this.#child.kill(signal);
  }

  /** Sends a signal that ends it, and waits for the end. */
  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<{ code: number | null; signal: string | null }> {
    const child = this.#child;
    assert(child !== undefined, "not running");
    child.kill(signal);
    return exited(child);
  }

  async restart(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    await this.kill(signal);
    await this.start();
  }

  async dispose(): Promise<void> {
    if (this.#child !== undefined) await this.kill();
  }

  async #ready(child: ChildProcess): Promise<Listening> {
    return new Promise((resolve, reject) => {
      const fail = (why: string) =>
        reject(new Error(`the service ${why}:\n${this.log.slice(-40).join("\n")}`));
      const timer = setTimeout(() => fail(`was not ready within ${READY_WITHIN_MS} ms`), READY_WITHIN_MS);
      // "close" comes after the last line was read, "exit" may come before.
      child.once("close", (code) => {
        clearTimeout(timer);
        fail(`ended with ${code} before it listened`);
      });
      for (const output of [child.stdout, child.stderr]) {
        assert(output !== null);
        createInterface({ input: output }).on("line", (line) => {
          this.log.push(line);
          if (this.log.length > KEPT_LOG_LINES) this.log.splice(0, KEPT_LOG_LINES / 2);
          const listening = parseListening(line);
          if (listening === undefined) return;
          clearTimeout(timer);
          resolve(listening);
        });
      }
    });
  }
}

function parseListening(line: string): Listening | undefined {
  if (!line.includes('"listening"')) return undefined;
  try {
    const entry = JSON.parse(line) as Partial<Listening> & { msg?: string };
    const { msg, host, port, adminPort, grpcPort } = entry;
    if (msg !== "listening" || host === undefined || port === undefined || adminPort === undefined)
      return undefined;
    return { host, port, adminPort, ...(grpcPort === undefined ? {} : { grpcPort }) };
  } catch {
    return undefined;
  }
}
