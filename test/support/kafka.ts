/** A real Kafka with one broker (KRaft) on ports that the system has chosen, to be frozen, killed and started again. */
import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { onTestFinished, type TestContext } from "vitest";
import { ROOT } from "./build.ts";
import { endWithUs, exited } from "./guard.ts";
import { installOnce } from "./install-once.ts";
import { installed, skipWithout } from "./installed.ts";
import { freePort } from "./mongod.ts";

const run = promisify(execFile);
const POM = join(ROOT, "test", "support", "kafka-pom.xml");
const INSTALL_TIMEOUT_MS = 200_000;

interface Installed {
  /** The program. */
  readonly java: string;
  readonly jars: string;
}

/** The jars of the broker, fetched once. A text that says why there are none. */
async function installKafka(): Promise<Installed | { missing: string }> {
  const java = installed("java");
  if (installed("mvn") === undefined || java === undefined) return { missing: "no mvn or no java" };
  const jars = join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "tidewire", "kafka-4.1.0");
  try {
    await installOnce(jars, (folder) => {
      const copy = ["dependency:copy-dependencies", "-DincludeScope=runtime", `-DoutputDirectory=${folder}`];
      return run("mvn", ["-q", "-B", "-f", POM, ...copy], { timeout: INSTALL_TIMEOUT_MS });
    });
    return { java, jars };
  } catch (error) {
    const reason = error instanceof Error ? error.message.split("\n")[0] : String(error);
    return { missing: `Kafka could not be fetched: ${reason}` };
  }
}

/** Small and quick to start. */
const JVM = ["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"];

export class Kafka {
  readonly port: number;
  /** A listener that requires SASL/PLAIN: user `ada`, password `s3cret-word`. */
  readonly saslPort: number;
  readonly #installed: Installed;
  readonly #file: string;
  #broker: ChildProcess | undefined;

  private constructor(ports: { port: number; saslPort: number }, found: Installed, file: string) {
    this.port = ports.port;
    this.saslPort = ports.saslPort;
    this.#installed = found;
    this.#file = file;
  }

  /** Starts a Kafka that ends with the test. The test is skipped where it cannot be fetched. */
  static async start(skip: TestContext["skip"]): Promise<Kafka> {
    const found = await installKafka();
    if ("missing" in found) return skipWithout(skip, found.missing);
    const directory = await mkdtemp(join(tmpdir(), "tidewire-kafka-"));
    onTestFinished(() => rm(directory, { recursive: true, force: true }));
    const ports = { port: await freePort(), saslPort: await freePort() };
    const file = join(directory, "server.properties");
    await writeFile(file, settings(directory, ports, await freePort()));
    const kafka = new Kafka(ports, found, file);
    onTestFinished(() => kafka.stop());
    const id = randomBytes(16).toString("base64url");
    const format = ["kafka.tools.StorageTool", "format", `--cluster-id=${id}`, "--config", file];
    await run(found.java, [...JVM, "-cp", join(found.jars, "*"), ...format], { timeout: INSTALL_TIMEOUT_MS });
    await kafka.start();
    return kafka;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Starts the broker, with the data of before. */
  async start(): Promise<void> {
    assert(this.#broker === undefined, "already running");
    const { java, jars } = this.#installed;
    const log = join(ROOT, "test", "support", "kafka-log.properties");
    const args = [
      ...JVM,
      `-Dlog4j2.configurationFile=${log}`,
      "-cp",
      join(jars, "*"),
      "kafka.Kafka",
      this.#file,
    ];
    const broker = spawn(java, args, { stdio: ["ignore", "pipe", "pipe"] });
    this.#broker = broker;
    endWithUs(broker);
    const { stdout, stderr } = broker;
    assert(stdout !== null && stderr !== null);
    const lines: string[] = [];
    await new Promise<void>((resolve, reject) => {
      broker.once("exit", () => reject(new Error(`Kafka did not start:\n${lines.slice(-20).join("\n")}`)));
      for (const output of [stdout, stderr])
        createInterface({ input: output }).on("line", (line) => {
          if (lines.length < 1_000) lines.push(line);
          if (line.includes("Kafka Server started")) resolve();
        });
    });
  }

  signal(signal: NodeJS.Signals): void {
    this.#broker?.kill(signal);
  }

  /** Kills the broker. Its data stay. */
  async stop(): Promise<void> {
    const broker = this.#broker;
    this.#broker = undefined;
    if (broker === undefined) return;
    broker.kill("SIGKILL");
    await exited(broker);
  }
}

function settings(
  directory: string,
  { port, saslPort }: { port: number; saslPort: number },
  controllerPort: number,
): string {
  const login = "org.apache.kafka.common.security.plain.PlainLoginModule required";
  const at = (name: string, number: number) => `${name}://127.0.0.1:${number}`;
  return Object.entries({
    "process.roles": "broker,controller",
    "node.id": 1,
    "controller.quorum.voters": `1@127.0.0.1:${controllerPort}`,
    "controller.listener.names": "CONTROLLER",
    listeners: [at("PLAINTEXT", port), at("LOGIN", saslPort), at("CONTROLLER", controllerPort)].join(),
    "advertised.listeners": [at("PLAINTEXT", port), at("LOGIN", saslPort)].join(),
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,LOGIN:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
    "sasl.enabled.mechanisms": "PLAIN",
    "listener.name.login.plain.sasl.jaas.config": `${login} user_ada="s3cret-word";`,
    "log.dirs": join(directory, "data"),
    "auto.create.topics.enable": false,
    "offsets.topic.replication.factor": 1,
    "offsets.topic.num.partitions": 1,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    "group.initial.rebalance.delay.ms": 0,
    "message.max.bytes": 200_000,
  })
    .map(([key, value]) => `${key}=${value}\n`)
    .join("");
}
