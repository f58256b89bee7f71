/** A real RabbitMQ on ports that the system has chosen, with its own data, name and epmd; to be frozen, killed and started again. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished, type TestContext } from "vitest";
import { endWithUs, exited } from "./guard.ts";
import { installed, skipWithout } from "./installed.ts";
import { freePort } from "./mongod.ts";

/** Debian's own script on the PATH changes the user. This is the one that it calls. */
const SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server";

export class RabbitMq {
  readonly port: number;
  readonly #env: Readonly<Record<string, string>>;
  #server: ChildProcess | undefined;

  private constructor(port: number, env: Readonly<Record<string, string>>) {
    this.port = port;
    this.#env = env;
  }

  /** Starts a RabbitMQ that ends with the test. The test is skipped where none is installed. */
  static async start(skip: TestContext["skip"], settings: readonly string[] = []): Promise<RabbitMq> {
    const epmd = installed("epmd");
    if (installed("rabbitmq-server") === undefined || epmd === undefined)
      return skipWithout(skip, "rabbitmq-server is not installed");
    const directory = await mkdtemp(join(tmpdir(), "tidewire-rabbitmq-"));
    await chmod(directory, 0o700);
    const [port, distPort, epmdPort] = [await freePort(), await freePort(), await freePort()];
    const config = [
      `listeners.tcp.1 = 127.0.0.1:${port}`,
      "log.console = true",
      "log.file = false",
      ...settings,
    ];
    await writeFile(join(directory, "rabbitmq.conf"), `${config.join("\n")}\n`);
    await writeFile(join(directory, "plugins"), "[].\n");
    const env = {
      HOME: directory,
      ERL_EPMD_ADDRESS: "127.0.0.1",
      ERL_EPMD_PORT: String(epmdPort),
      RABBITMQ_NODENAME: `tidewire-${randomBytes(4).toString("hex")}@localhost`,
      RABBITMQ_DIST_PORT: String(distPort),
      RABBITMQ_MNESIA_BASE: join(directory, "mnesia"),
      RABBITMQ_LOG_BASE: join(directory, "log"),
      RABBITMQ_CONFIG_FILE: join(directory, "rabbitmq.conf"),
      RABBITMQ_CONF_ENV_FILE: join(directory, "no-env.conf"),
      RABBITMQ_ENABLED_PLUGINS_FILE: join(directory, "plugins"),
      RABBITMQ_PID_FILE: join(directory, "pid"),
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1",
    };
    // Erlang would start this one by itself, as a daemon that nobody ends.
    const names = spawn(epmd, ["-port", String(epmdPort), "-address", "127.0.0.1"], { stdio: "ignore", env });
    endWithUs(names, directory);
    const rabbit = new RabbitMq(port, env);
    onTestFinished(async () => {
      await rabbit.stop();
      names.kill("SIGKILL");
      await exited(names);
      await rm(directory, { recursive: true, force: true });
    });
    await rabbit.start();
    return rabbit;
  }

  get url(): string {
    return `amqp://guest:guest@127.0.0.1:${this.port}`;
  }

  /** Starts it, with the data of before. */
  async start(): Promise<void> {
    assert(this.#server === undefined, "already running");
    // In a group of its own, because the script starts Erlang as a child.
    const server = spawn(SERVER, [], {
      env: { ...process.env, ...this.#env },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    this.#server = server;
    endWithUs(server, undefined, "group");
    let log = "";
    const ready = new Promise<void>((resolve, reject) => {
      const note = (chunk: Buffer) => {
        log += chunk.toString();
        if (/Server startup complete|completed with \d+ plugins/.test(log)) resolve();
      };
      server.stdout?.on("data", note);
      server.stderr?.on("data", note);
      server.once("exit", () => reject(new Error(`rabbitmq-server did not start:\n${log}`)));
    });
    await ready;
  }

  signal(signal: NodeJS.Signals): void {
    if (this.#server?.pid !== undefined) process.kill(-this.#server.pid, signal);
  }

  /** Kills it. Its data stay. */
  async stop(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.signal("SIGKILL");
    this.#server = undefined;
    await exited(server);
  }
}
