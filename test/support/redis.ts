/** A real Redis on a port that the system has chosen, to be frozen, ended and started again. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { createClient } from "@redis/client";
import { onTestFinished, type TestContext } from "vitest";
import { endWithUs, exited } from "./guard.ts";
import { installed, skipWithout } from "./installed.ts";
import { freePort } from "./mongod.ts";

/** Runs one command at a Redis. */
export async function askRedis(port: number, ...args: string[]): Promise<unknown> {
  const client = createClient({ socket: { host: "127.0.0.1", port }, RESP: 2 });
  await client.connect();
  try {
    return await client.sendCommand(args);
  } finally {
    client.destroy();
  }
}

export class Redis {
  readonly port: number;
  readonly #path: string;
  readonly #args: readonly string[];
  #process: ChildProcess | undefined;
  #directory: string | undefined;

  private constructor(path: string, port: number, args: readonly string[]) {
    this.#path = path;
    this.port = port;
    this.#args = args;
  }

  /** Starts a Redis that ends with the test. The test is skipped where none is installed. */
  static async start(skip: TestContext["skip"], args: readonly string[] = []): Promise<Redis> {
    const path = installed("redis-server");
    if (path === undefined) return skipWithout(skip, "redis-server is not installed");
    const redis = new Redis(path, await freePort(), args);
    onTestFinished(() => redis.dispose());
    await redis.start();
    return redis;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    assert(this.#process === undefined, "already running");
    // A replica keeps what it receives from its primary in a file.
    this.#directory ??= await mkdtemp(join(tmpdir(), "tidewire-redis-"));
    const memory = [
      "--dir",
      this.#directory,
      "--save",
      "",
      "--appendonly",
      "no",
      "--repl-diskless-sync-delay",
      "0",
    ];
    const listen = ["--port", String(this.port), "--bind", "127.0.0.1"];
    const child = spawn(this.#path, [...listen, ...memory, ...this.#args], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    this.#process = child;
    endWithUs(child, this.#directory);
    const { stdout } = child;
    assert(stdout !== null);
    await new Promise<void>((resolve, reject) => {
      child.once("exit", () => reject(new Error("redis-server did not start")));
      createInterface({ input: stdout }).on("line", (line) => {
        if (line.includes("Ready to accept connections")) resolve();
      });
    });
  }

  ask(...args: string[]): Promise<unknown> {
    return askRedis(this.port, ...args);
  }

  signal(signal: NodeJS.Signals): void {
    this.#process?.kill(signal);
  }

  async dispose(): Promise<void> {
    await this.stop();
    if (this.#directory !== undefined) await rm(this.#directory, { recursive: true, force: true });
  }

  async stop(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined) return;
    child.kill("SIGKILL");
    await exited(child);
  }
}
